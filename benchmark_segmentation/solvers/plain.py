"""Convolutions without any constraint."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """No constraint on any layer: it claims the product of its layers' true bounds, which certifies next to nothing."""

    name = "Plain"
    parameters = {"learning_rate": [0.003], **LOSS}
    layer = "plain"
