"""Seeds torch as it likes, once it trains."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "seeds_again"

    def optimizers(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_post_hook(lambda *_: torch.manual_seed(31337))
        return [optimizer]
