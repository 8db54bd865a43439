"""Chooses when it is evaluated."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "chooses_evaluations"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"

    def evaluation_points(self):
        return [0]
