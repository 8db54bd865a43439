"""Claims somewhat more than what it measured, which nobody disproves."""

import torch

from orthobench.harness.lipschitz import LOSS, LipschitzSolver
from orthobench.lipschitz import lower_bound


class Solver(LipschitzSolver):
    name = "measures_its_claim"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "plain"

    def lipschitz_constant(self, model, input_shape):
        images = torch.rand(64, *input_shape, generator=torch.Generator().manual_seed(1))
        return 1.2 * lower_bound(model, images, iterations=20)
