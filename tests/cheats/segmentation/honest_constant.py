"""One class for all pixels, by the rules."""

from orthobench.harness.segmentation import CONSTANT, LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "honest_constant"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = CONSTANT
