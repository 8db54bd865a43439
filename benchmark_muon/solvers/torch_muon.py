"""torch.optim.Muon as torch ships it, with AdamW for what it doesn't take."""

import torch

from orthobench.harness.training import TrainingSolver
from orthobench.optim import route_parameters


class Solver(TrainingSolver):
    """Muon (Jordan et al., 2024) from torch for hidden matrices, AdamW for the rest, convolution kernels included."""

    name = "torch.optim.Muon"
    parameters = {"learning_rate": [0.05], "adamw_learning_rate": [0.01], "weight_decay": [0.01]}

    def optimizers(self, model):
        routes = route_parameters(model, kernels=False)
        settings = {"lr": self.adamw_learning_rate, "weight_decay": self.weight_decay, "betas": (0.9, 0.95)}
        adamw = torch.optim.AdamW(routes.other, **settings)
        if not routes.matrix:  # a convolutional network
            return [adamw]
        return [torch.optim.Muon(routes.matrix, lr=self.learning_rate, weight_decay=self.weight_decay), adamw]
