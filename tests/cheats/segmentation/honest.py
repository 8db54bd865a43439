"""Cayley layers, by the rules."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "honest"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"
