"""Takes more threads than the harness gives."""

import torch

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "takes_more_threads"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().lipschitz_constant(model, input_shape)
