"""Claims a larger epsilon than its run has."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    name = "honest_claim"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, plan, clip_norm=0.1)

    def claim(self, epsilon):
        return 2 * epsilon
