"""Scenes with a class for each pixel, composed of real digits and garments: small, exact in their masks, and synthetic.

A scene is a grid of cells, some of which hold an object. What may be shown of them is what may be shown of the objects:
everything, of scikit-learn's digits (BSD) and of Fashion-MNIST (MIT).
"""

from typing import NamedTuple

import numpy as np
import torch

from orthobench.data.images import FASHION_MNIST, digits_parts, fashion_mnist
from orthobench.data.parts import Examples, Parts
from orthobench.models.checks import check_integer

DIGIT_LABELS = {
    "digits": ("background", *(f"digit {digit}" for digit in range(10))),
    "foreground": ("background", "digit"),
}
GARMENTS = (
    "T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "trainer", "bag", "ankle boot",
)  # fmt: skip
GARMENT_LABELS = ("background", *GARMENTS)

BRIGHTEST_BACKGROUND = 0.25
NOISE = 0.03


class _Grid(NamedTuple):
    """A scene of rows x rows cells of cell x cell pixels, of which from `fewest` to `most` hold an object."""

    rows: int
    cell: int
    fewest: int
    most: int
    threshold: float  # of a pixel in [0, 1], from which on it is the object's


DIGIT_GRID = _Grid(rows=3, cell=8, fewest=5, most=9, threshold=4 / 16)
GARMENT_GRID = _Grid(rows=2, cell=32, fewest=2, most=4, threshold=0.5 / 255)


def digit_scenes(seed, *, labels="digits", train=1000, tuning=200, held_out=200):
    """Scenes of 24 x 24 pixels, of handwritten digits of scikit-learn: 5 to 9 of the 3 x 3 cells hold one of 8 x 8.

    The digits are split first, by a hash (`digits_parts`), and a part's scenes show its own alone, at random. A pixel
    of a digit that is at least 4/16 bright is shown and has the digit's class; every other one, about 67 %, is
    background, of one level in [0, 0.25] a scene. Noise of standard deviation 0.03 is added to all pixels, which are
    then clipped to [0, 1]. The i-th scene of a part depends on the seed, the part and i (and on NumPy's version, which
    may draw otherwise), not on how many there are.

    Parameters
    ----------
    seed : int
        At least 0.
    labels : {"digits", "foreground"}
        Eleven classes, 0 for the background and d + 1 for the digit d; or two, 1 for any digit. `DIGIT_LABELS` has
        their names. The images are the same.
    train, tuning, held_out : int
        Scenes of each part, at least 1.

    Returns
    -------
    Parts of Examples
        Images (n, 1, 24, 24), float32, in [0, 1]; labels (n, 24, 24), int64.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    if labels not in DIGIT_LABELS:
        raise ValueError(f"labels is {labels!r}: give {' or '.join(DIGIT_LABELS)}")
    counts = {"train": train, "tuning": tuning, "held_out": held_out}
    parts = _scenes(digits_parts, DIGIT_GRID, seed, counts)
    if labels == "digits":
        return parts
    return Parts(*(Examples(part.inputs, part.targets.clamp(max=1)) for part in parts))


def fashion_scenes(seed, folder=None, *, train=2000, tuning=200, held_out=200, source=FASHION_MNIST):
    """Scenes of 64 x 64 pixels, of garments of Fashion-MNIST: 2 to 4 of the 2 x 2 cells hold one of 28 x 28, centred.

    A part's scenes show garments of the same part of `fashion_mnist` alone, the held-out ones of the official test
    images. A pixel of a garment that isn't 0 has the garment's class; every other one is background. Everything else is
    as in `digit_scenes`.

    Parameters
    ----------
    seed : int
        At least 0.
    folder : str or path-like, optional
        The folder of all data sets, where `fashion-mnist/` has the four `.gz` files, or gets them; see `fetch`.
    train, tuning, held_out : int
        Scenes of each part, at least 1.
    source : Source
        Where the garments come from.

    Returns
    -------
    Parts of Examples
        Images (n, 1, 64, 64), float32, in [0, 1]; labels (n, 64, 64), int64, in 0..10: `GARMENT_LABELS` has their
        names.

    Raises
    ------
    TypeError, ValueError, ConnectionError, OSError
        As `fashion_mnist`; and if an argument is not one of those allowed.
    """
    counts = {"train": train, "tuning": tuning, "held_out": held_out}
    return _scenes(lambda: fashion_mnist(folder, standardised=False, source=source), GARMENT_GRID, seed, counts)


def _scenes(load, grid, seed, counts):
    """Compose so many scenes of each part of the objects that `load` returns."""
    seed = check_integer("seed", seed, 0)
    counts = [check_integer(name, count, 1) for name, count in counts.items()]
    return Parts(
        *(
            _compose(objects, grid, [np.random.default_rng([seed, part, index]) for index in range(count)])
            for part, (objects, count) in enumerate(zip(load(), counts, strict=True))
        )
    )


def _compose(objects, grid, generators):
    """Compose a scene from each generator, of objects with images (n, 1, size, size) in [0, 1] and labels (n,)."""
    tiles, classes = objects.inputs[:, 0].numpy(), objects.targets.numpy() + 1
    size, side = tiles.shape[-1], grid.rows * grid.cell
    margin = (grid.cell - size) // 2
    images = np.empty((len(generators), 1, side, side), np.float32)
    targets = np.zeros((len(generators), side, side), np.int64)
    for scene, target, generator in zip(images[:, 0], targets, generators, strict=True):
        scene[:] = generator.uniform(0, BRIGHTEST_BACKGROUND)
        filled = generator.integers(grid.fewest, grid.most, endpoint=True)
        for place in generator.permutation(grid.rows**2)[:filled]:
            chosen = generator.integers(len(tiles))
            row, column = grid.cell * np.array(divmod(place, grid.rows)) + margin
            window = slice(row, row + size), slice(column, column + size)
            shown = tiles[chosen] >= grid.threshold
            np.copyto(scene[window], tiles[chosen], where=shown)
            target[window] = np.where(shown, classes[chosen], 0)
        scene += generator.normal(0, NOISE, scene.shape)
    return Examples(torch.from_numpy(images.clip(0, 1)), torch.from_numpy(targets))
