"""Is made of other layers each time it is asked."""

from orthobench.harness.lipschitz import LOSS, LipschitzSolver


class Solver(LipschitzSolver):
    name = "changes_its_layer"
    parameters = {"learning_rate": [0.05], **LOSS}
    asked = 0

    @property
    def layer(self):
        self.asked += 1
        return "cayley" if self.asked < 3 else "plain"
