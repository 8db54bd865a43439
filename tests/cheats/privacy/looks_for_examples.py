"""Looks for training examples and held-out ones in its process, where it steps on noisy sums."""

import gc

import torch

from orthobench.data.parts import Examples
from orthobench.harness.privacy import Clipping, PrivateSolver


class Looks(Clipping):
    def apply(self, noisy):
        found = [each for each in gc.get_objects() if isinstance(each, Examples)]
        found += [
            each
            for each in gc.get_objects()
            if isinstance(each, torch.Tensor) and each.numel() and each.shape[1:] == (1, 8, 8)
        ]
        if found:
            raise RuntimeError(f"found {len(found)} sets of examples")
        super().apply(noisy)


class Solver(PrivateSolver):
    name = "looks_for_examples"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Looks(optimizer, model, plan, clip_norm=0.1)
