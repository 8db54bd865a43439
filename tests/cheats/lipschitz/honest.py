"""Cayley layers, by the rules."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "honest"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"
