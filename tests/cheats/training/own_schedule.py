"""Brings a learning-rate schedule of its own."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "own_schedule"

    def optimizers(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        optimizer.register_step_post_hook(lambda *_: schedule.step())
        return [optimizer]
