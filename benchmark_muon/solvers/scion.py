"""SCION, from pytorch-optimizer."""

from pytorch_optimizer import SCION
from pytorch_optimizer.optimizer.scion import LMONorm

from orthobench.harness.training import TrainingSolver
from orthobench.optim import route_parameters


class Solver(TrainingSolver):
    """Unconstrained SCION (Pethick et al., 2025): spectral norms for what is hidden, sign for embeddings and head."""

    name = "SCION"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"learning_rate": [0.03], "momentum": [0.1], "scale": [10.0]}

    def optimizers(self, model):
        routes = route_parameters(model)
        by_norm = {
            LMONorm.SPECTRAL: [each for each in routes.matrix if each.ndim == 2],
            LMONorm.SPECTRALCONV: [each for each in [*routes.matrix, *routes.other] if each.ndim == 4],
            LMONorm.SIGN: [each for each in routes.other if each.ndim in (2, 3)],
            LMONorm.BIAS: [each for each in routes.other if each.ndim < 2],
        }
        hidden = (LMONorm.SPECTRAL, LMONorm.SPECTRALCONV)
        scales = {norm: self.scale if norm in hidden else 1.0 for norm in by_norm}
        groups = [{"params": each, "norm_type": norm, "scale": scales[norm]} for norm, each in by_norm.items() if each]
        return [SCION(groups, lr=self.learning_rate, momentum=self.momentum)]
