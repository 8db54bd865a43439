"""Claims more than it has."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "honest_claim"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        return 2 * super().lipschitz_constant(model, input_shape)
