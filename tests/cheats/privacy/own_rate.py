"""Changes its learning rate in the course of the run."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class OwnRate(Clipping):
    def step(self, inputs, targets):
        total = super().step(inputs, targets)
        for group in self._private.optimizer.param_groups:
            group["lr"] *= 2
        return total


class Solver(PrivateSolver):
    name = "own_rate"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        return OwnRate(optimizer, model, plan, clip_norm=0.1)
