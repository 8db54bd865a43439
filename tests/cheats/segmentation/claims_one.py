"""Plain layers, of which it says that they are 1-Lipschitz."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "claims_one"
    parameters = {"learning_rate": [0.3], **LOSS}
    layer = "plain"

    def lipschitz_constant(self, model, input_shape):
        return 1.0
