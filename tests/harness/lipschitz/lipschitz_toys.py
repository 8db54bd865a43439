"""A small problem of images: which quarter of the image is bright."""

from functools import partial

import torch
from torch import nn

from orthobench.data.parts import Examples, Parts
from orthobench.harness.lipschitz import RobustnessTask
from orthobench.models import lipschitz_convnet

CPU = torch.device("cpu")
CLASSES, COUNT = 4, 48


def make_parts(seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(3):
        targets = torch.arange(COUNT) % CLASSES
        inputs = 0.3 * torch.rand(COUNT, 1, 4, 4, generator=generator)
        for image, target in zip(inputs, targets.tolist(), strict=True):
            row, column = 2 * (target // 2), 2 * (target % 2)
            image[0, row : row + 2, column : column + 2] += 0.7 * torch.rand((), generator=generator)
        parts.append(Examples(inputs, targets))
    return Parts(*parts)


def make_task(steps=10, padding_mode="circular", network=None, **options):
    small = partial(lipschitz_convnet, size=4, width=4, blocks=1, convolutions=1, padding_mode=padding_mode)
    settings = {"classes": CLASSES, "batch_size": 12}
    return RobustnessTask(
        make_parts(), steps=steps, network=network or small, padding_mode=padding_mode, **settings | options
    )


class Stated(nn.Linear):
    """A linear layer of a given weight that states a bound."""

    joint = True

    def __init__(self, weight, bound):
        super().__init__(weight.shape[1], weight.shape[0])
        self.weight = nn.Parameter(weight)
        self.lipschitz_bound = bound
