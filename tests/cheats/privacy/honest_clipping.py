"""Adaptive clipping, with two mechanisms a step and a network without constraints, by the rules."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    name = "honest_clipping"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, plan, way="adaptive", clip_norm=0.1)
