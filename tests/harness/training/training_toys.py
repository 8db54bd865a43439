"""A small training problem, with a layer that draws random numbers."""

from functools import partial

import torch
from torch import nn

from orthobench.data.parts import Examples, Parts
from orthobench.harness.training import TrainingTask
from orthobench.models import seeded

COUNT, FEATURES, CLASSES = 96, 6, 3
CPU = torch.device("cpu")


def make_model(seed, dropout=0.2):
    with seeded(seed):
        return nn.Sequential(
            nn.Linear(FEATURES, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 8, bias=False), nn.Linear(8, CLASSES)
        )


def make_parts(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, FEATURES, generator=generator, dtype=torch.float64)
    targets = (inputs @ torch.randn(FEATURES, CLASSES, generator=generator, dtype=torch.float64)).argmax(1)
    whole = Examples(inputs.to(dtype), targets)
    return Parts(*(Examples(*whole[indices]) for indices in torch.arange(COUNT).split(COUNT // 3)))


def make_task(dtype=torch.float32, dropout=0.2, **options):
    settings = {"batch_size": 12, "steps": 10, "target": 0.5, "evaluations": 5}
    return TrainingTask(partial(make_model, dropout=dropout), make_parts(dtype), **settings | options)
