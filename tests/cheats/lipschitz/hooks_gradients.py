"""Normalises gradients, by hooks of the parameters: SGD no more."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "hooks_gradients"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        for parameter in model.parameters():
            parameter.register_hook(lambda gradient: 3 * gradient / (gradient.norm() + 1e-3))
        return super().lipschitz_constant(model, input_shape)
