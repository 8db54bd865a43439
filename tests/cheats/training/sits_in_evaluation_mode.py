"""Switches the regularisation off."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "sits_in_evaluation_mode"

    def optimizers(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_pre_hook(lambda *_: model.eval() and None)
        return [optimizer]
