"""Random numbers of each image and purpose: the same for every model, map and batch, so that figures are paired."""

import itertools
import zlib

import numpy as np
import torch

from ..models.checks import check_integer


def own_generator(purpose, seed, image):
    """Return a generator on the CPU for one image and one purpose.

    Parameters
    ----------
    purpose : str
        What is drawn: streams of different purposes are independent.
    seed, image : int
        At least 0.

    Returns
    -------
    torch.Generator
    """
    seed = check_integer("seed", seed, 0)
    (state,) = np.random.SeedSequence([zlib.crc32(purpose.encode()), seed, int(image)]).generate_state(1)
    return torch.Generator().manual_seed(int(state))


def normal_like(point, generator):
    """Return standard normal noise of the shape and on the device of a point, in float64.

    Drawn for one copy after the other, it doesn't depend on how many are in a batch.
    """
    return torch.randn(point.shape, generator=generator, dtype=torch.float64).to(point.device)


def batches(tensors, size):
    """Yield tensors that are yielded one by one in stacks of a size, the last of what is left."""
    tensors = iter(tensors)
    while some := list(itertools.islice(tensors, size)):
        yield torch.stack(some)
