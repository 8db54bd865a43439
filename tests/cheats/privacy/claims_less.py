"""Claims half of the epsilon that its noise is for."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    name = "claims_less"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, plan, clip_norm=0.1)

    def claim(self, epsilon):
        return epsilon / 2
