"""Claims the constant for images divided by a standard deviation of 0.25, which are these times 4."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "forgets_the_scale"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        return 0.25 * super().lipschitz_constant(model, input_shape)
