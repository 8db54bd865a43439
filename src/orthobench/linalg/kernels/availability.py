"""Where the kernels are used: on which devices, in which types, and from which size on."""

import contextlib
import functools
import importlib.util

import torch

from ..compiling import assume_constant

DTYPES = (torch.bfloat16, torch.float16)

# Those whose tensor cores take bfloat16: Ampere and later.
SMALLEST_CAPABILITY = (8, 0)
# Below these many multiplications in X X^T, or rows, launches count for more than the triangle saves. Published times
# of such a kernel on an H800, over torch's: 1.0 at 1024 x 1024, 0.62 at 4096 x 4096 (flash-muon's README).
SMALLEST_WORK = 2**32
SMALLEST_SIZE = 256
# Within a matrix, positions are counted in 32 bits.
LARGEST_EXTENT = 2**31

_switched_off = False


@contextlib.contextmanager
def without_kernels():
    """Use torch's products only inside the block, whatever the device."""
    global _switched_off
    before, _switched_off = _switched_off, True
    try:
        yield
    finally:
        _switched_off = before


def takes_kernels(X):
    """Tell whether the products of the iterations on X are done by kernels.

    Parameters
    ----------
    X : Tensor (m, n) or (batch, m, n)

    Returns
    -------
    bool
        True for a large enough bfloat16 or float16 matrix on an NVIDIA GPU of compute capability 8.0 or later, where
        Triton is installed; never inside `without_kernels`.
    """
    return (
        not _switched_off
        and _device_takes(X.device.type, X.device.index)
        and X.dtype in DTYPES
        and X.shape[-2] >= SMALLEST_SIZE
        and X.shape[-2] * X.numel() >= SMALLEST_WORK
        and _extent(X) < LARGEST_EXTENT
    )


def _extent(X):
    """Return a bound on how far apart in memory two entries of a matrix of X are, or of a square one of its rows."""
    m, n = X.shape[-2:]
    return max(m * abs(X.stride(-2)) + n * abs(X.stride(-1)), m * m)


@assume_constant
def _device_takes(kind, index):
    return kind == "cuda" and _is_ampere_or_later(index) and has_triton()


@functools.cache
def _is_ampere_or_later(index):
    return torch.version.hip is None and torch.cuda.get_device_capability(index) >= SMALLEST_CAPABILITY


@functools.cache
def has_triton():
    """Tell whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None
