"""What a private step releases of its batch: sums over the examples, in blocks with a bound and Gaussian noise each."""

import math
from typing import NamedTuple

import torch
from scipy.special import ndtri

from .sampling import secure_bits
from .transcript import combined

# Of a noise multiplier that was divided among blocks.
ROUNDING = 1e-9

# Of the probabilities that secure noise is made of: odd multiples of 2^-53, exact in float64, never 0 or 1.
BITS = 52


class Block(NamedTuple):
    """One Gaussian mechanism of a private step: the sums that it covers, and their noise.

    `bound` is the most that one example can add to these sums together, as an L2 norm; `std` the standard deviation of
    each entry's noise.
    """

    names: tuple
    bound: float
    std: float

    @property
    def noise_multiplier(self):
        """Noise over bound; infinite where the bound is 0, for that tells nothing of the data."""
        return self.std / self.bound if self.bound > 0 else math.inf


def effective_multiplier(blocks, nominal=None):
    """Return the noise multiplier of all blocks together, infinite if none of them tells anything of the data.

    Parameters
    ----------
    blocks : sequence of Block
    nominal : float, optional
        What they were made for: returned where rounding alone is between, so that equal steps are recorded as such, and
        where none of them tells anything.

    Raises
    ------
    ValueError
        If a block with a bound has no noise.
    """
    noisy = [block.noise_multiplier for block in blocks if block.bound > 0]
    found = combined(noisy) if noisy else math.inf
    if nominal is not None and (found == math.inf or abs(found - nominal) <= ROUNDING * nominal):
        return nominal
    return found


def draw_noise(sums, blocks, generator, secure=False):
    """Draw the noise of a step.

    Parameters
    ----------
    sums : dict of str to torch.Tensor
        In the order of which noise is drawn.
    blocks : sequence of Block
        A sum that is in none of them gets no noise.
    generator : torch.Generator or None
        On the device of the sums.
    secure : bool
        Draw from the operating system's cryptographic generator instead: see `secure_normal`.

    Returns
    -------
    dict of str to torch.Tensor
        Of the sums' shapes and types; those with noise.
    """
    stds = {name: block.std for block in blocks for name in block.names}
    noisy = {name: each for name, each in sums.items() if name in stds}
    if secure:
        return {name: (stds[name] * secure_normal(each.shape)).to(each) for name, each in noisy.items()}
    settings = {"generator": generator}
    return {
        name: torch.normal(0.0, stds[name], each.shape, dtype=each.dtype, device=each.device, **settings)
        for name, each in noisy.items()
    }


def secure_normal(shape):
    """Draw standard normal numbers from the operating system's cryptographic generator.

    Each is half of the sum of four, so that its last bits don't tell which numbers in floating point a generator can
    reach: Holohan and Braghin, "Secure random sampling in differential privacy" (2021), section 5.1, with n = 2, what
    Opacus' secure mode does. Each of the four is the quantile of a uniform probability: at most 8.2 deviations.

    Parameters
    ----------
    shape : sequence of int

    Returns
    -------
    torch.Tensor
        Of that shape, float64, on the CPU.
    """
    probabilities = (secure_bits(4 * math.prod(shape), BITS) + 0.5) * 2.0**-BITS
    return torch.from_numpy(ndtri(probabilities)).view(4, *shape).sum(0) / 2


def add_noise(sums, noise):
    """Return sums with their noise, new tensors.

    Parameters
    ----------
    sums, noise : dict of str to torch.Tensor
        As `draw_noise` takes and returns them.
    """
    return {name: each + noise[name] if name in noise else each.clone() for name, each in sums.items()}
