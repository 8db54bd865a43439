"""Claims next to nothing while only the last claim seems to be examined."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "claims_less_at_first"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    asked = 0

    def lipschitz_constant(self, model, input_shape):
        self.asked += 1
        return 1.0 if self.asked > self._task.steps // 10 else 1e-3
