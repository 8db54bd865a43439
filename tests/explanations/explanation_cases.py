"""Models whose explanations are known exactly, in float64."""

import math

import torch
from torch import nn

from orthobench.explanations import ClassScore


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed), dtype=torch.float64)


def labels(*values):
    return torch.tensor(values, dtype=torch.int64)


def linear_model(weight, bias=0.0):
    """Logits weight @ x + bias, of weight (C, pixels of all channels)."""

    def model(images):
        return images.flatten(1) @ weight.to(images).mT + torch.as_tensor(bias).to(images)

    return model


def two_logits(function):
    """Logits (f, -f) / sqrt(2) of one score f (b,): as Lipschitz as it is."""

    def model(images):
        value = function(images)
        return torch.stack([value, -value], dim=1) / math.sqrt(2)

    return model


def score_of(function, images, **options):
    """The margin of class 0 of `two_logits`, sqrt(2) f."""
    return ClassScore(two_logits(function), images, torch.zeros(len(images), dtype=torch.int64), **options)


def small_network(seed=0, pixels=16, channels=1, classes=3, width=24):
    """A network of two layers, in float64, of images (b, channels, 4, 4) by default."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Flatten(), nn.Linear(channels * pixels, width), nn.Tanh(), nn.Linear(width, classes)]
    return nn.Sequential(*layers).double()


def network_score(seed=0, images=6, channels=1, **options):
    """The score of what a small network predicts, so that all images are right."""
    model, points = small_network(seed, channels=channels), uniform(images, channels, 4, 4, seed=seed + 1)
    with torch.no_grad():
        predicted = model(points).argmax(1)
    return ClassScore(model, points, predicted, **options)


def standard_error(values):
    return float(values.std() / len(values) ** 0.5)
