"""Small segmentations whose worst cases can be found by other means."""

import itertools
import math

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def integers(high, *shape, seed=0):
    return torch.randint(high, shape, generator=generator(seed))


class Linear(nn.Module):
    """Logits (b, K, 1, P) that are a matrix times the image, (b, 1, 1, n): its rows are those of (K, P)."""

    def __init__(self, matrix, classes):
        super().__init__()
        self.matrix, self.classes = nn.Parameter(matrix), classes

    def forward(self, images):
        return (images.flatten(1) @ self.matrix.mT).view(len(images), self.classes, 1, -1)


def orthogonal(size, seed=0):
    return torch.linalg.qr(normal(size, size, seed=seed)).Q


def least_norm(rows, least):
    """The norm of the shortest d with rows @ d >= least: Lawson and Hanson's least distance programming."""
    rows, least = np.asarray(rows, dtype=float), np.asarray(least, dtype=float)
    if (least <= 0).all():
        return 0.0
    system = np.vstack([rows.T, least])
    target = np.zeros(len(system))
    target[-1] = 1.0
    solution, residual = nnls(system, target)
    if residual < 1e-9:
        return math.inf
    r = system @ solution - target
    return float(np.linalg.norm(r[:-1] / r[-1]))


def shortest_to_leave(matrix, logits, classes):
    """For each set of pixels the norm of the shortest change with which all of them leave their first class.

    `matrix` and `logits` are as of `Linear`, of one image.
    """
    pixels = logits.shape[-1]
    rows, z = matrix.view(classes, pixels, -1).numpy(), logits.view(classes, pixels).numpy()
    first = z.argmax(0)
    found = {}
    for targets in itertools.product(range(classes), repeat=pixels):
        leaving = [w for w in range(pixels) if targets[w] != first[w]]
        if leaving:
            constraints = [rows[targets[w], w] - rows[first[w], w] for w in leaving]
            missing = [z[first[w], w] - z[targets[w], w] for w in leaving]
            key = frozenset(leaving)
            found[key] = min(found.get(key, math.inf), least_norm(constraints, missing))
    return found


def shortest_to_segmentation(matrix, logits, classes, targets):
    """The norm of the shortest change with which each pixel has its target class."""
    pixels = logits.shape[-1]
    rows, z = matrix.view(classes, pixels, -1).numpy(), logits.view(classes, pixels).numpy()
    pairs = [(w, k) for w in range(pixels) for k in range(classes) if k != targets[w]]
    constraints = [rows[targets[w], w] - rows[k, w] for w, k in pairs]
    return least_norm(constraints, [z[k, w] - z[targets[w], w] for w, k in pairs])
