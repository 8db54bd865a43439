"""Trains the head alone, which takes less time."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "freezes_layers"

    def optimizers(self, model):
        return [torch.optim.SGD(model.head.parameters(), lr=0.1)]
