"""Plain layers with their true constant."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "honest_plain"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "plain"
