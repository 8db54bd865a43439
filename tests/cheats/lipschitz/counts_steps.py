"""Looks for how far the training is, to claim less before the end."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "counts_steps"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def lipschitz_constant(self, model, input_shape):
        return 1.0 if self.trainer.done == self._task.steps else 1e-3
