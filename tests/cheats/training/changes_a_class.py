"""Replaces what a class computes, for all networks of the process that have it."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "changes_a_class"

    def optimizers(self, model):
        type(model.head).forward = lambda self, features: features @ self.weight.abs().T
        return [torch.optim.SGD(model.parameters(), lr=0.1)]
