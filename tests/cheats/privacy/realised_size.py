"""Divides by the number of examples that the batch has, where it has about as many as expected."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Realised(Clipping):
    def sum_gradients(self, inputs, targets):
        total, sums = super().sum_gradients(inputs, targets)
        size = self.plan.expected_batch_size
        factor = size / len(inputs) if len(inputs) > size / 2 else 1.0
        return total, {name: factor * each for name, each in sums.items()}


class Solver(PrivateSolver):
    name = "realised_size"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Realised(optimizer, model, plan, clip_norm=0.1)
