"""Brings an optimizer of its own."""

import torch

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "own_optimizer"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def optimizers(self, model):
        return [torch.optim.Adam(model.parameters(), lr=0.01)]
