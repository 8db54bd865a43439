"""Convolutions without any constraint."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    """No constraint on any layer: it claims the product of its layers' true bounds, which certifies next to nothing."""

    name = "Plain"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "plain"
