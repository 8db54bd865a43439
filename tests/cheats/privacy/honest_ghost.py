"""DP-SGD, by the rules: what those beside it are compared with that change nothing."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    name = "honest_ghost"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, plan, clip_norm=0.1)
