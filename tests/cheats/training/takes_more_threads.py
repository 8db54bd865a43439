"""Takes more threads than it is given."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "takes_more_threads"

    def optimizers(self, model):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return [torch.optim.SGD(model.parameters(), lr=0.1)]
