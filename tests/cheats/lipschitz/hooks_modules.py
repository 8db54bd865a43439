"""Scales gradients, by hooks of the modules."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "hooks_modules"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        for module in model:
            module.register_full_backward_hook(lambda module, inputs, outputs: tuple(10 * each for each in inputs))
        return super().lipschitz_constant(model, input_shape)
