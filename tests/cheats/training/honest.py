"""SGD, by the rules."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "honest"

    def optimizers(self, model):
        return [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)]
