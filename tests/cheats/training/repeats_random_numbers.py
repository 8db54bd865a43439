"""Seeds torch in each step, as the harness did: the same random numbers, over and over."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "repeats_random_numbers"

    def optimizers(self, model):
        seed = torch.initial_seed()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_post_hook(lambda *_: torch.manual_seed(seed) and None)
        return [optimizer]
