"""A plain network, certified under the noise that its row says."""

from orthobench.harness.segmentation import LOSS, SMOOTHING, SegmentationSolver


class Solver(SegmentationSolver):
    name = "honest_smoothing"
    parameters = {"learning_rate": [0.03], **SMOOTHING, "n": [60], **LOSS}
    layer = "plain"
