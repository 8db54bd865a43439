"""Steps three times on the same noisy sums, at a rate of its own: that costs no privacy, and is its method."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class OwnRate(Clipping):
    def apply(self, noisy):
        for group in self.optimizer.param_groups:
            group["lr"] *= 0.5
        for _ in range(3):
            super().apply(noisy)


class Solver(PrivateSolver):
    name = "own_rate"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return OwnRate(optimizer, model, plan, clip_norm=0.1)
