"""Makes every linear layer of torch twice as large."""

from torch.nn import functional

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "replaces_a_function"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        linear = functional.linear
        functional.linear = lambda *arguments: 2 * linear(*arguments)
        return super().lipschitz_constant(model, input_shape)
