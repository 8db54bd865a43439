"""Scenes with a box and a class for each object, composed of real digits and garments, for small detectors.

What may be shown of them is what may be shown of the objects: everything, of scikit-learn's digits (BSD) and of
Fashion-MNIST (MIT).
"""

from typing import NamedTuple

import numpy as np
import torch

from orthobench.data.embedded import digits
from orthobench.data.images import FASHION_MNIST, fashion_mnist
from orthobench.data.parts import split_by_hash
from orthobench.models.checks import check_integer

NOISE = 0.1
LARGEST_OVERLAP = 0.2
_TRIES = 50  # to find a place for an object


class BoxScenes(NamedTuple):
    """Scenes and what is in them.

    Attributes
    ----------
    images : Tensor (n, 1, side, side)
        Float32, in [0, 1].
    boxes : array (T, 4)
        Left, top, right and bottom of the objects of all scenes, one after the other, in pixels; right and bottom are
        the first column and row outside.
    labels : array (T,)
        Their classes, int64.
    offsets : array (n + 1,)
        Objects offsets[i] to offsets[i + 1] - 1 are of scene i.
    """

    images: torch.Tensor
    boxes: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray


class _Kind(NamedTuple):
    """Scenes of side x side pixels with up to `most` objects, scaled by one of `scales`, and pieces of others."""

    side: int
    most: int
    scales: tuple
    clutter: int  # the most pieces
    threshold: float  # of a pixel, from which on it is of the object


DIGITS = _Kind(side=48, most=4, scales=(1.0, 1.5, 2.0), clutter=3, threshold=4 / 16)
GARMENTS = _Kind(side=96, most=4, scales=(1.0,), clutter=3, threshold=0.5 / 255)


def digit_boxes(seed, *, train=4000, pool=2000, kind=DIGITS):
    """Scenes of 48 x 48 pixels, in which 1 to 4 handwritten digits of scikit-learn stand, larger and smaller ones.

    The digits are split first, by a hash of their pixels: 45 % are in the scenes for training, the others in those of
    the pool, at random. Each is scaled by 1, 1.5 or 2, and its box is that of its pixels of at least 4/16. No two
    overlap by more than a fifth of the smaller box. Up to 3 pieces of other digits lie around, a quarter of one each,
    and noise of standard deviation 0.1 is added, clipped to [0, 1]. Scene i depends on the seed, its part and i alone:
    given the digits, scenes are independent and of one distribution.

    Parameters
    ----------
    seed : int
        At least 0.
    train, pool : int
        Scenes of each part, at least 1.

    Returns
    -------
    tuple of (BoxScenes, BoxScenes)
        To train a detector on; and that it is calibrated and tested on.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    return _scenes(split_by_hash(*digits(), (0.45, 0.55)), kind, seed, train, pool)


def fashion_boxes(seed, folder=None, *, train=4000, pool=2000, source=FASHION_MNIST, kind=GARMENTS):
    """Scenes of 96 x 96 pixels with 1 to 4 garments of Fashion-MNIST, of 28 x 28: otherwise as `digit_boxes`.

    Those for training show training images, those of the pool the official test images.

    Parameters
    ----------
    seed : int
        At least 0.
    folder : str or path-like, optional
        The folder of all data sets; see `fashion_mnist`.
    train, pool : int
    source : Source

    Returns
    -------
    tuple of (BoxScenes, BoxScenes)

    Raises
    ------
    TypeError, ValueError, ConnectionError, OSError
        As `fashion_mnist`; and if an argument is not one of those allowed.
    """
    parts = fashion_mnist(folder, standardised=False, source=source)
    return _scenes((parts.train, parts.held_out), kind, seed, train, pool)


def _scenes(objects, kind, seed, train, pool):
    seed = check_integer("seed", seed, 0)
    counts = check_integer("train", train, 1), check_integer("pool", pool, 1)
    return tuple(
        _compose(each, kind, [np.random.default_rng([seed, part, index]) for index in range(count)])
        for part, (each, count) in enumerate(zip(objects, counts, strict=True))
    )


def _compose(objects, kind, generators):
    """Compose a scene from each generator."""
    tiles, classes = objects.inputs[:, 0].numpy(), objects.targets.numpy()
    images, boxes, labels, counts = [], [], [], []
    for generator in generators:
        image = np.zeros((kind.side, kind.side))
        _strew(image, tiles, kind, generator)
        found = []
        for _ in range(generator.integers(1, kind.most, endpoint=True)):
            chosen = generator.integers(len(tiles))
            box = _place(image, _scaled(tiles[chosen], generator.choice(kind.scales)), found, kind, generator)
            if box is not None:
                found.append(box)
                labels.append(classes[chosen])
        images.append(np.clip(image + generator.normal(0, NOISE, image.shape), 0, 1))
        boxes += found
        counts.append(len(found))
    return BoxScenes(
        torch.from_numpy(np.stack(images)[:, None].astype(np.float32)),
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
        np.concatenate([[0], np.cumsum(counts)]),
    )


def _strew(image, tiles, kind, generator):
    """Put quarters of objects anywhere."""
    half = tiles.shape[-1] // 2
    for _ in range(generator.integers(kind.clutter, endpoint=True)):
        tile = tiles[generator.integers(len(tiles))]
        row, column = half * generator.integers(2, size=2)
        piece = tile[row : row + half, column : column + half]
        top, left = generator.integers(kind.side - half, size=2, endpoint=True)
        window = image[top : top + half, left : left + half]
        np.maximum(window, piece, out=window)


def _scaled(tile, scale):
    """Return an object by bilinear interpolation, of `scale` times its size."""
    size = round(scale * len(tile))
    whole = torch.from_numpy(tile)[None, None]
    return torch.nn.functional.interpolate(whole, size=(size, size), mode="bilinear", align_corners=False)[0, 0].numpy()


def _place(image, tile, others, kind, generator):
    """Draw an object where it overlaps the others little, and return its box; None if no such place is found."""
    shown = tile >= kind.threshold
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    for _ in range(_TRIES):
        top, left = generator.integers(kind.side - len(tile), size=2, endpoint=True)
        box = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
        if all(_overlap(box, other) <= LARGEST_OVERLAP for other in others):
            window = image[top : top + len(tile), left : left + len(tile)]
            np.copyto(window, np.maximum(window, tile), where=shown)
            return box
    return None


def _overlap(one, other):
    """Return the area that two boxes share, over that of the smaller one."""
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    smaller = min((each[2] - each[0]) * (each[3] - each[1]) for each in (one, other))
    return max(width, 0) * max(height, 0) / smaller
