"""Seeds torch as it likes, before it trains."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "seeds_at_first"

    def optimizers(self, model):
        torch.manual_seed(31337)
        return [torch.optim.SGD(model.parameters(), lr=0.1)]
