"""Mechanisms to test: honest ones of each way of clipping, and planted cheats, all on one small network."""

import copy
import math
from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from orthobench.privacy.clipping import ClippedGradients
from orthobench.privacy.mechanism_tests import COMPANY
from orthobench.privacy.release import Block

FEATURES, CLASSES, CLIP, SIGMA, SIZE = 12, 3, 0.2, 2.0, 16
NAMES = ("0.weight", "0.bias", "2.weight", "2.bias")


def losses(outputs, targets):
    return cross_entropy(outputs, targets, reduction="none")


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES)).to(dtype)


def examples(count=16, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    inputs = normalize(torch.randn(count, FEATURES, generator=generator, dtype=dtype), dim=1)
    return inputs, torch.arange(count) % CLASSES


def clipped(way="ghost", noise=SIGMA, model=None, **options):
    """Return a private optimizer."""
    model = network() if model is None else copy.deepcopy(model)
    settings = {"clip_norm": CLIP, "noise_multiplier": noise, "expected_batch_size": SIZE, "sampling_rate": 0.1}
    return ClippedGradients(torch.optim.SGD(model.parameters(), lr=0.0), model, way=way, **settings | options)


def asked(way):
    """Return an honest mechanism as the tests ask one."""
    private = clipped(way)
    return lambda inputs, targets: (private.sum_gradients(inputs, targets, losses)[1], private.blocks())


class Plain:
    """Clipping written out, example by example, and what its subclasses do wrong."""

    bound = 1.0

    def __init__(self):
        self.model = network()

    def __call__(self, inputs, targets):
        sums = self.sums(list(self.gradients(inputs, targets)))
        return dict(zip(NAMES, sums, strict=True)), self.blocks(inputs)

    def blocks(self, inputs):
        return [Block(NAMES, self.bound * CLIP, SIGMA * CLIP)]

    def gradients(self, inputs, targets):
        for index in range(len(inputs)):
            self.model.zero_grad()
            losses(self.model(inputs[index : index + 1]), targets[index : index + 1]).sum().backward()
            yield [each.grad.clone() for each in self.model.parameters()]

    def zeros(self):
        return [torch.zeros_like(each) for each in self.model.parameters()]

    def sums(self, gradients):
        total = self.zeros()
        for gradient in gradients:
            norm = math.sqrt(sum(float(each.square().sum()) for each in gradient))
            total = [own + each * min(1, CLIP / norm) for own, each in zip(total, gradient, strict=True)]
        return total


class HalfTheBound(Plain):
    """States half of the bound, for as much noise."""

    bound = 0.5


class ClipsAfterSumming(Plain):
    def sums(self, gradients):
        total = [sum(parts) for parts in zip(*gradients, strict=True)] or self.zeros()
        norm = math.sqrt(sum(float(each.square().sum()) for each in total))
        return [each * min(1, CLIP / max(norm, 1e-12)) for each in total]


class RealisedSize(Plain):
    def sums(self, gradients):
        return [each * SIZE / max(1, len(gradients)) for each in super().sums(gradients)]


class MoreInLargeBatches(Plain):
    def sums(self, gradients):
        return [each * (1.0 if len(gradients) < 2 * COMPANY else 3.0) for each in super().sums(gradients)]


class BoundOfTheBatch(Plain):
    def blocks(self, inputs):
        return [Block(NAMES, CLIP * (1 + len(inputs)), SIGMA * CLIP)]


class Remembers(Plain):
    before = None

    def sums(self, gradients):
        total, before = super().sums(gradients), self.before
        self.before = total
        return total if before is None else [one + other for one, other in zip(total, before, strict=True)]


class LeavesOut(Plain):
    def blocks(self, inputs):
        return [Block(NAMES[:-1], CLIP, SIGMA * CLIP)]


WAYS = ("hooks", "ghost", "adaptive", "automatic")
HONEST = {"plain": Plain} | {way: partial(asked, way) for way in WAYS}
