"""Trains at another learning rate than its row says."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "changes_its_rate"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def skip(self, task):
        self.learning_rate = 0.5
        return super().skip(task)
