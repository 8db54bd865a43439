"""Clips the sum of the gradients to what one example may add to it, instead of each example's."""

import torch

from orthobench.harness.privacy import Clipping, PrivateSolver


class ClipsTheSum(Clipping):
    def sum_gradients(self, inputs, targets):
        total, sums = super().sum_gradients(inputs, targets)
        norm = float(torch.stack([each.norm() for each in sums.values()]).norm())
        return total, {name: min(1.0, 0.1 / max(norm, 1e-12)) * each for name, each in sums.items()}


class Solver(PrivateSolver):
    name = "clips_after_summing"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return ClipsTheSum(optimizer, model, plan, clip_norm=0.1)
