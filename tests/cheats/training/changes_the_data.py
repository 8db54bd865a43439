"""Makes the training examples easier."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "changes_the_data"

    def optimizers(self, model):
        self._task.parts.train.inputs[:] += self._task.parts.train.targets.reshape(-1, 1, 1, 1)
        return [torch.optim.SGD(model.parameters(), lr=0.1)]
