"""Makes the training examples brighter."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    name = "changes_the_data"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        self._task.parts.train.inputs.mul_(2)
        return Clipping(optimizer, model, plan, clip_norm=0.1)
