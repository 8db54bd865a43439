"""AdamW: the baseline."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), for all parameters."""

    name = "AdamW"
    parameters = {"learning_rate": [0.01], "weight_decay": [0.01]}

    def optimizers(self, model):
        settings = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "betas": (0.9, 0.95)}
        return [torch.optim.AdamW(model.parameters(), **settings)]
