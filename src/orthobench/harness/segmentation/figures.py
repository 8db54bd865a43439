"""Figures of segmentations that were predicted, and of sets of pixels whose classes are certified."""

import math

import torch

from ...segmentation import ABSTAIN
from ...segmentation.checks import IGNORED
from ..png import as_text, shown

# Of a picture: colours of classes, around the circle of hues; what isn't certified; what an attack changed.
_UNCERTIFIED, _FLIPPED = (128, 128, 128), (230, 30, 30)
_BETWEEN = 255  # grey, between two panels


def performance(predicted, labels, classes):
    """Return pixel accuracy, mean class accuracy and mIoU; means are over the classes that have pixels.

    Parameters
    ----------
    predicted, labels : Tensor (n, h, w)
        Classes; `IGNORED` is no label, and `ABSTAIN` no class: it is wrong, and adds to no union.
    classes : int

    Returns
    -------
    tuple of (float, float, float)
    """
    labelled = labels != IGNORED
    # In the last column are pixels that are given no class.
    given = torch.where(predicted == ABSTAIN, classes, predicted)[labelled].long()
    pairs = torch.bincount(labels[labelled].long() * (classes + 1) + given, minlength=classes * (classes + 1))
    pairs = pairs.view(classes, classes + 1).double()
    right, have, are_given = pairs.diagonal(), pairs.sum(1), pairs[:, :classes].sum(0)
    present = have > 0
    return (
        float(right.sum() / have.sum()),
        float((right / have)[present].mean()),
        float((right / (have + are_given - right))[present].mean()),
    )


def certified_performance(certified, labels, classes):
    """Return the least `performance` of segmentations that have at least these pixels' classes.

    Parameters
    ----------
    certified : Tensor (n, h, w)
        Classes, and `ABSTAIN` where it may be any. Then a pixel is taken to be wrong, and in the union of each class
        but its own.
    """
    labelled = labels != IGNORED
    pixel, by_class, _ = performance(certified, labels, classes)
    ious = []
    for k in range(classes):
        own = labelled & (labels == k)
        others = labelled & (labels != k) & ((certified == k) | (certified == ABSTAIN))
        if own.any():
            ious.append(int((own & (certified == k)).sum()) / int(own.sum() + others.sum()))
    return pixel, by_class, sum(ious) / len(ious)


def picture(image, predicted, certified, flipped, classes):
    """Return a PNG, as text in base64: an image, its prediction, what of it is certified, what an attack changed.

    Parameters
    ----------
    image : Tensor (c, h, w)
        In [0, 1]; in grey, by its first channel, unless c is 3.
    predicted : Tensor (h, w)
    certified, flipped : Tensor (h, w) bool
    classes : int
    """
    pixels = shown(image)
    colours = torch.tensor([_colour(k, classes) for k in range(classes)], dtype=torch.uint8)[predicted]
    kept = torch.where(certified[..., None], colours, torch.tensor(_UNCERTIFIED, dtype=torch.uint8))
    changed = torch.where(flipped[..., None], torch.tensor(_FLIPPED, dtype=torch.uint8), pixels)
    between = torch.full((len(pixels), 1, 3), _BETWEEN, dtype=torch.uint8)
    panels = [pixels, between, colours, between, kept, between, changed]
    return as_text(torch.cat(panels, 1).numpy())


def _colour(k, classes):
    """Return red, green and blue of a class: black for the first, which is the background of most data sets."""
    angle = 2 * math.pi * k / max(1, classes - 1)
    return (0, 0, 0) if not k else tuple(round(150 + 105 * math.cos(angle - shift)) for shift in (0.0, 2.1, 4.2))
