"""Moves the weights by the gradient itself, besides the private step."""

import torch

from orthobench.harness.privacy import Clipping, PrivateSolver


class WritesWeights(Clipping):
    def step(self, inputs, targets):
        total = super().step(inputs, targets)
        if len(inputs):
            gradients = torch.autograd.grad(self.loss(self.model(inputs), targets).mean(), self.model.parameters())
            with torch.no_grad():
                for parameter, gradient in zip(self.model.parameters(), gradients, strict=True):
                    parameter.sub_(gradient, alpha=0.1)
        return total


class Solver(PrivateSolver):
    name = "writes_weights"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        mechanism = WritesWeights(optimizer, model, plan, clip_norm=0.1)
        mechanism._private._wrapped.disable_hooks()
        step = mechanism._private.step

        def stepped(*batch):
            mechanism._private._wrapped.enable_hooks()
            total = step(*batch)
            mechanism._private._wrapped.disable_hooks()
            return total

        mechanism._private.step = stepped
        return mechanism
