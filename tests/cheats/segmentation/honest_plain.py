"""Plain layers with their true constant."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "honest_plain"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "plain"
