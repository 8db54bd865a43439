"""Sums over a batch and what is claimed of them: whether they can be true, and how they compare with their noise."""

import math
from typing import NamedTuple

from .mechanism_tests import Finding

ROUNDING = 1e-4


class Summed(NamedTuple):
    """Sums by name, and what is claimed of them: a list of `orthobench.privacy.release.Block`."""

    sums: dict
    blocks: list


def size_test(summed, count):
    """Test that no block's sums are larger than its examples can make them.

    Parameters
    ----------
    summed : Summed
    count : int
        Of the examples in the batch.

    Returns
    -------
    Finding
        Its figure is the largest norm over count times bound, infinite where the bound is 0 and the norm is not.
    """
    worst, message = 0.0, ""
    for block in summed.blocks:
        size, most = _norm(summed.sums[name] for name in block.names), count * block.bound
        share = size / most if most else math.inf if size else 0.0
        if share > worst:
            can_make = f"{count} examples with a bound of {block.bound:.3g} make {most:.3g} at most"
            worst, message = share, f"the sum of {block.names[0]} has the norm {size:.3g}, and {can_make}"
    return Finding("sensitivity", worst <= 1 + ROUNDING, worst, message)


def blocks_of_parameters(blocks, weights):
    """Return the blocks of gradients: without those of other sums, such as a count."""
    return [block for block in blocks if all(name in weights for name in block.names)]


def gradient_to_noise(summed, weights, scale=1.0):
    """Return the norm of the sums of gradients over that of the noise that is added to them.

    Parameters
    ----------
    summed : Summed
    weights : dict of str to torch.Tensor
        The parameters.
    scale : float
        Of the sums, where the batch is smaller than those that noise is added to.

    Returns
    -------
    float
        Infinite without noise.
    """
    blocks = blocks_of_parameters(summed.blocks, weights)
    noise = math.sqrt(sum(each.std**2 * sum(weights[name].numel() for name in each.names) for each in blocks))
    return _norm(summed.sums[name] for name in weights) * scale / noise if noise else math.inf


def _norm(tensors):
    return math.sqrt(sum(float(each.double().square().sum()) for each in tensors))
