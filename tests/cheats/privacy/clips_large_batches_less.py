"""Clips to five times the norm that it states, in batches that no test of a few examples has."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class ClipsLess(Clipping):
    def sum_gradients(self, inputs, targets):
        total, sums = super().sum_gradients(inputs, targets)
        factor = 5.0 if len(inputs) > 32 else 1.0
        return total, {name: factor * each for name, each in sums.items()}


class Solver(PrivateSolver):
    name = "clips_large_batches_less"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return ClipsLess(optimizer, model, plan, clip_norm=0.1)
