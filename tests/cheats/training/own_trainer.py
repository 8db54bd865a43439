"""Trains with larger batches than its rivals."""

from dataclasses import replace

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "own_trainer"

    def optimizers(self, model):
        return [torch.optim.SGD(model.parameters(), lr=0.1)]

    def _trainer(self, seed):
        self._task = replace(self._task, batch_size=512)
        return super()._trainer(seed)
