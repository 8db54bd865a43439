"""Turbo-Muon, and Muon with any other orthogonaliser of this package."""

import torch

from orthobench.harness.training import TrainingSolver
from orthobench.optim import TurboMuon, route_parameters


class Solver(TrainingSolver):
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

    def optimizers(self, model):
        routes = route_parameters(model)
        muon = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "orthogonaliser": self.orthogonaliser}
        adamw = {"lr": self.adamw_learning_rate, "weight_decay": self.weight_decay, "betas": (0.9, 0.95)}
        return [TurboMuon(routes.matrix, **muon), torch.optim.AdamW(routes.other, **adamw)]
