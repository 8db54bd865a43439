"""Mechanisms to test: honest ones of each way of clipping, and planted cheats, all on one small network."""

import copy
import math
from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from orthobench.privacy.clipping import ClippedGradients
from orthobench.privacy.mechanism_tests import Block

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


def clipped(optimizer, generator, way="ghost", noise=SIGMA, model=None):
    """Return an honest mechanism, its loss given."""
    model = network() if model is None else copy.deepcopy(model)
    settings = {"clip_norm": CLIP, "noise_multiplier": noise, "expected_batch_size": SIZE, "sampling_rate": 0.1}
    private = ClippedGradients(optimizer(model.parameters()), model, way=way, generator=generator, **settings)
    step = private.step
    private.step = lambda inputs, targets: step(inputs, targets, losses)
    return private


class Plain:
    """Clipping written out, example by example, and what its subclasses do wrong."""

    noise, bound = 1.0, 1.0

    def __init__(self, optimizer, generator):
        self.model, self.generator = network(), generator
        self.optimizer = optimizer(self.model.parameters())

    def blocks(self):
        return [Block(NAMES, self.bound * CLIP / SIZE, SIGMA / self.bound)]

    def gradients(self, inputs, targets):
        for index in range(len(inputs)):
            self.model.zero_grad()
            losses(self.model(inputs[index : index + 1]), targets[index : index + 1]).sum().backward()
            yield [each.grad.clone() for each in self.model.parameters()]

    def mean(self, inputs, targets):
        total = [torch.zeros_like(each) for each in self.model.parameters()]
        for gradient in self.gradients(inputs, targets):
            norm = math.sqrt(sum(float(each.square().sum()) for each in gradient))
            total = [own + each * min(1, CLIP / norm) for own, each in zip(total, gradient, strict=True)]
        return [each / SIZE for each in total]

    def step(self, inputs, targets):
        for parameter, mean in zip(self.model.parameters(), self.mean(inputs, targets), strict=True):
            noise = torch.randn(parameter.shape, generator=self.generator)
            parameter.grad = mean + self.noise * SIGMA * CLIP / SIZE * noise
        self.optimizer.step()


class HalfTheNoise(Plain):
    noise = 0.5


class NoNoise(Plain):
    noise = 0.0


class HalfTheBound(Plain):
    """States half of the bound, and a noise multiplier that is larger by as much."""

    bound = 0.5


class ClipsAfterAveraging(Plain):
    def mean(self, inputs, targets):
        gradients = list(self.gradients(inputs, targets))
        total = [sum(parts) / SIZE for parts in zip(*gradients, strict=True)] or [
            torch.zeros_like(each) for each in self.model.parameters()
        ]
        norm = math.sqrt(sum(float(each.square().sum()) for each in total))
        return [each * min(1, CLIP / max(norm, 1e-12)) for each in total]


class TheSameNoise(Plain):
    """Draws its noise once."""

    def step(self, inputs, targets):
        self.state = getattr(self, "state", None)
        if self.state is None:
            self.state = self.generator.get_state()
        self.generator.set_state(self.state)
        super().step(inputs, targets)


class WritesWeights(Plain):
    """Moves the weights by the gradient itself, too."""

    def step(self, inputs, targets):
        mean = self.mean(inputs, targets)
        super().step(inputs, targets)
        with torch.no_grad():
            for parameter, each in zip(self.model.parameters(), mean, strict=True):
                parameter.sub_(each)


class NoiseOfItsOwn(Plain):
    def step(self, inputs, targets):
        self.generator = torch.Generator()
        self.generator.seed()
        super().step(inputs, targets)


WAYS = ("hooks", "ghost", "adaptive", "automatic")
HONEST = {"plain": Plain} | {way: partial(clipped, way=way) for way in WAYS}
