"""Stochastic gradient descent with Nesterov's momentum."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    """SGD with Nesterov's momentum (Sutskever et al., 2013)."""

    name = "SGD"
    parameters = {"learning_rate": [0.1], "momentum": [0.9]}

    def optimizers(self, model):
        return [torch.optim.SGD(model.parameters(), lr=self.learning_rate, momentum=self.momentum, nesterov=True)]
