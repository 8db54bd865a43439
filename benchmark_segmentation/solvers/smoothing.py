"""SegCertify: randomised smoothing of a network without any constraint."""

from orthobench.harness.segmentation import LOSS, SMOOTHING, SegmentationSolver


class Solver(SegmentationSolver):
    """Segmentation certified by randomised smoothing (Fischer, Baader and Vechev, 2021), trained with its noise."""

    name = "Smoothing"
    parameters = {**SMOOTHING, "learning_rate": [0.003], **LOSS}
    layer = "plain"
