"""Two optimizers, one with two groups of its own rates, and a hook that looks at activations."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "honest_in_groups"

    def optimizers(self, model):
        self.seen = []
        model.head.register_forward_hook(lambda module, inputs, output: self.seen.append(inputs[0].shape))
        gains = [each for each in model.parameters() if each.ndim < 2]
        kernels = [each for each in model.parameters() if each.ndim > 2]
        groups = [{"params": gains, "lr": 0.01}, {"params": kernels, "lr": 0.1}]
        return [torch.optim.SGD(groups), torch.optim.AdamW([model.head.weight], lr=torch.tensor(1e-3))]
