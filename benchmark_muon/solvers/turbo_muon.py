"""Turbo-Muon, and Muon with any other orthogonaliser of this package."""

from orthobench.harness.training import MatrixSolver
from orthobench.optim import TurboMuon


class Solver(MatrixSolver):
    """Turbo-Muon (Boissin et al., 2025) for hidden matrices and convolution kernels, AdamW for the rest.

    `orthogonaliser` is any of `orthobench.linalg.ORTHOGONALISERS`: "muon" is the original Muon, "svd" the exact factor.
    """

    name = "Turbo-Muon"
    parameters = {
        "learning_rate": [0.05],
        "orthogonaliser": ["turbo_muon", "muon", "polar_express", "svd"],
        "adamw_learning_rate": [0.01],
        "weight_decay": [0.01],
    }

    def matrix_optimizer(self, parameters, model):
        settings = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        settings |= {"orthogonaliser": self.orthogonaliser, "process_group": self.process_group}
        return TurboMuon(parameters, **settings)
