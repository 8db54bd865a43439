"""Takes another step with the same gradients after each."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "steps_twice_in_a_hook"

    def optimizers(self, model):
        self.again = False
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_post_hook(self.step_again)
        return [optimizer]

    def step_again(self, optimizer, *_):
        self.again = not self.again
        if self.again:
            optimizer.step()
