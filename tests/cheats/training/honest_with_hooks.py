"""Hooks that look at rates, activations and gradients, a step with random numbers, and a rate in a tensor."""

import torch

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "honest_with_hooks"

    def optimizers(self, model):
        self.seen = []
        model.register_forward_hook(lambda module, inputs, output: self.seen.append(output.mean().item()))
        model.head.register_full_backward_hook(lambda module, *_: None)
        optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(1e-3))
        optimizer.register_step_pre_hook(self.add_noise)
        optimizer.register_step_post_hook(self.look)
        return [optimizer]

    def add_noise(self, optimizer, *_):
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad += 1e-3 * torch.randn_like(parameter.grad)

    def look(self, optimizer, *_):
        self.seen.append(float(optimizer.param_groups[0]["lr"]))
