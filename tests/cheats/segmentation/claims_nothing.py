"""Claims a constant that is no number."""

import math

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "claims_nothing"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        return math.nan
