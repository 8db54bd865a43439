"""The most frequent class, for every pixel."""

from orthobench.harness.segmentation import CONSTANT, LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    """A reference: one class for all pixels of all images. Nobody changes it, and its mean class accuracy is 1 / K."""

    name = "Constant"
    parameters = LOSS
    learning_rate = 0.1
    layer = CONSTANT
