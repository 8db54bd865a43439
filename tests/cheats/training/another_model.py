"""Gives the model a larger head."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "another_model"

    def optimizers(self, model):
        width = model.head.in_features
        model.head = torch.nn.Sequential(torch.nn.Linear(width, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        return [torch.optim.SGD(model.parameters(), lr=0.1)]
