"""Trains twice as long."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "takes_more_steps"
    parameters = {"learning_rate": [0.05], **LOSS}
    layer = "cayley"

    def step(self):
        self.trainer.step()
        self.trainer.step()
