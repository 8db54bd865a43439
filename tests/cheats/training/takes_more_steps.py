"""Takes two steps where one is counted."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "takes_more_steps"

    def optimizers(self, model):
        return [torch.optim.SGD(model.parameters(), lr=0.1)]

    def step(self):
        self.trainer.step()
        self.trainer.step()
