"""Trains on what it is evaluated on."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "looks_at_held_out"

    def optimizers(self, model):
        self.inputs, self.targets = self._task.parts.held_out[torch.arange(100)]
        return [torch.optim.SGD(model.parameters(), lr=0.1)]
