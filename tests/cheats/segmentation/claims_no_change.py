"""Says that nothing changes its logits, as if they were a constant's."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "claims_no_change"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        return 0.0
