"""Claims the largest constant of a single logit in place of that of all of them together."""

import torch

from orthobench.harness.segmentation import LOSS, SegmentationSolver


class Solver(SegmentationSolver):
    name = "claims_by_output"
    parameters = {"learning_rate": [0.03], **LOSS}
    layer = "plain"

    def lipschitz_constant(self, model, input_shape):
        image = torch.rand(input_shape, generator=torch.Generator().manual_seed(1))
        with torch.enable_grad():
            jacobian = torch.autograd.functional.jacobian(lambda x: model(x[None])[0], image)
        return float(jacobian.flatten(-3).norm(dim=-1).max())
