"""A hook that makes the outputs, where nobody evaluates them."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "changes_outputs_in_training"

    def optimizers(self, model):
        model.head.register_forward_hook(lambda module, inputs, output: 2 * output if module.training else None)
        return [torch.optim.SGD(model.parameters(), lr=0.1)]
