"""A small problem of segmentation: grey images of 8x8 pixels, with a bright rectangle and a half bright one."""

from functools import partial

import torch

from orthobench.data.parts import Examples, Parts
from orthobench.harness.segmentation import SegmentationTask
from orthobench.models import lipschitz_unet

CLASSES, SIDE = 3, 8
COUNTS = (48, 10, 12)  # of training, tuning and held-out images
IGNORED = 255


def make_part(count, seed):
    generator = torch.Generator().manual_seed(seed)
    images = 0.25 * torch.rand(count, 1, SIDE, SIDE, generator=generator)
    labels = torch.zeros(count, SIDE, SIDE, dtype=torch.int64)
    for image, label in zip(images, labels, strict=True):
        for k, level in ((1, 0.7), (2, 0.4)):
            row, column = torch.randint(SIDE - 3, (2,), generator=generator).tolist()
            image[0, row : row + 4, column : column + 4] = level + 0.25 * torch.rand(4, 4, generator=generator)
            label[row : row + 4, column : column + 4] = k
        label[0, int(torch.randint(SIDE, (), generator=generator))] = IGNORED
    return Examples(images, labels)


def make_parts(seed=0):
    return Parts(*(make_part(count, 3 * seed + index) for index, count in enumerate(COUNTS)))


def make_task(steps=6, padding_mode="circular", **options):
    network = partial(lipschitz_unet, width=4, depth=1, convolutions=1, padding_mode=padding_mode)
    settings = {"attack": {"steps": 4, "restarts": 6}, "attacked": 8, "smoothed": 6}
    return SegmentationTask(make_parts(), CLASSES, 12, steps, network, padding_mode, **settings | options)
