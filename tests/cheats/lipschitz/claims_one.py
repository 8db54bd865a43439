"""Plain layers, of which it says that they are 1-Lipschitz."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "claims_one"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "plain"

    def lipschitz_constant(self, model, input_shape):
        return 1.0
