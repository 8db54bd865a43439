"""A hook that does not look at outputs, but makes them."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "changes_outputs"

    def optimizers(self, model):
        model.head.register_forward_hook(lambda module, inputs, output: 2 * output)
        return [torch.optim.SGD(model.parameters(), lr=0.1)]
