"""Changes the learning rate before a step and puts it back after."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "own_rate_for_a_moment"

    def optimizers(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_pre_hook(self.raise_rate)
        optimizer.register_step_post_hook(self.put_back)
        return [optimizer]

    def raise_rate(self, optimizer, *_):
        self.rate = optimizer.param_groups[0]["lr"]
        optimizer.param_groups[0]["lr"] = 2 * self.rate

    def put_back(self, optimizer, *_):
        optimizer.param_groups[0]["lr"] = self.rate
