"""States that its sums need no noise, though examples change them."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Bare(Clipping):
    def blocks(self):
        return [each._replace(std=0.0) for each in super().blocks()]


class Solver(PrivateSolver):
    name = "no_noise"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Bare(optimizer, model, plan, clip_norm=0.1)
