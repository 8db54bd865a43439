"""Brings a learning rate of its own, in a tensor."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "own_rate_in_a_tensor"

    def optimizers(self, model):
        optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(1e-3))
        optimizer.register_step_pre_hook(lambda *_: optimizer.param_groups[0]["lr"].fill_(0.01) and None)
        return [optimizer]
