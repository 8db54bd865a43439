"""Clips the mean gradient to what one example may add to it at most, instead of each example's."""

import torch

from orthobench.harness.privacy import NonPrivate, PrivateSolver
from orthobench.privacy.mechanism_tests import Block


class ClipsTheMean(NonPrivate):
    def __init__(self, optimizer, model, plan):
        super().__init__(optimizer, model, plan)
        self.plan, self.optimizer = plan, optimizer

    def blocks(self):
        names = tuple(name for name, _ in self.model.named_parameters())
        return [Block(names, 0.1 / self.plan.expected_batch_size, self.plan.noise_multiplier)]

    def step(self, inputs, targets):
        self.model.zero_grad(set_to_none=False)
        total = self.loss(self.model(inputs), targets).sum()
        (total / self.plan.expected_batch_size).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.1)
        for each in self.model.parameters():
            noise = torch.randn(each.shape, generator=self.plan.generator)
            each.grad.add_(noise, alpha=self.blocks()[0].std)
        self.plan.transcript.record(self.plan.sampling_rate, (self.plan.noise_multiplier,))
        self.optimizer.step()
        return total.detach()


class Solver(PrivateSolver):
    name = "clips_after_averaging"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        return ClipsTheMean(optimizer, model, plan)
