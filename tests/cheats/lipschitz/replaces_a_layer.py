"""Puts a layer of its own in place of the head, which states what it has not."""

import torch

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "replaces_a_layer"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        head = torch.nn.Linear(model[-1].in_features, 10)
        head.lipschitz_bound = 1.0
        torch.nn.init.normal_(head.weight, std=10.0)
        model[-1] = head
        return super().lipschitz_constant(model, input_shape)
