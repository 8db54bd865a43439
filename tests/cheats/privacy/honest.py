"""A Lipschitz network without clipping, by the rules."""

from orthobench.harness.privacy import ClipFree, PrivateSolver


class Solver(PrivateSolver):
    name = "honest"
    parameters = {"learning_rate": [0.1]}

    def mechanism(self, optimizer, model, plan):
        return ClipFree(optimizer, model, plan, temperature=0.125, allocation="optimal")
