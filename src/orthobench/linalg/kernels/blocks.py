"""Into which tiles the kernels divide their matrices.

A table, and no search at first use: that would choose by clocks, so that two processes which must get the same bits
might not. ``orthobench speed kernels`` times the entries, and others, on the GPU at hand.
"""

import contextlib
from typing import NamedTuple

import torch


class Blocks(NamedTuple):
    """A tile of rows x columns, computed in steps of `inner` along the inner dimension (for types of two bytes)."""

    rows: int
    columns: int
    inner: int
    warps: int
    stages: int

    def inner_for(self, dtype):
        """Return the step for a type, so that it fills as much memory."""
        return self.inner * 2 // dtype.itemsize


# Three steps of 128 x 128 x 64 are in flight in 96 KiB, which all GPUs since Ampere have, and two such tiles fit on a
# multiprocessor of an A100 or H100.
SYMMETRIC = Blocks(128, 128, 64, warps=4, stages=3)
SYMMETRIC_SMALL = Blocks(64, 64, 64, warps=4, stages=3)
PRODUCT = Blocks(128, 128, 64, warps=4, stages=3)
PRODUCT_SMALL = Blocks(64, 64, 64, warps=4, stages=3)
# It takes 144 KiB, which these have, by major version of their compute capability: Hopper, Blackwell (data centre).
PRODUCT_LARGE = Blocks(128, 256, 64, warps=8, stages=3)
HAVE_LARGE_BLOCKS = (9, 10)
SCALING = Blocks(32, 128, 1, warps=4, stages=1)

# Rows of tiles that are done together, column by column.
GROUP = 8
# Smaller tiles are taken where larger ones are fewer than this: they would leave multiprocessors idle.
FEWEST_TILES = 128


_only = None


@contextlib.contextmanager
def only(entry):
    """Use these tiles for every product inside the block, to test or to time them."""
    global _only
    before, _only = _only, entry
    try:
        yield
    finally:
        _only = before


def symmetric_blocks(m, count):
    """Return the tiles of a symmetric product (m, m), of `count` matrices: square ones."""
    if _only is not None:
        return _only
    tiles = -(-m // SYMMETRIC.rows)
    return SYMMETRIC if count * tiles * (tiles + 1) // 2 >= FEWEST_TILES else SYMMETRIC_SMALL


def product_blocks(m, n, count, device):
    """Return the tiles of a product (m, n), of `count` matrices."""
    if _only is not None:
        return _only
    for blocks in (PRODUCT_LARGE, PRODUCT):
        tiles = count * -(-m // blocks.rows) * -(-n // blocks.columns)
        if tiles >= FEWEST_TILES and (blocks != PRODUCT_LARGE or _has_large_blocks(device)):
            return blocks
    return PRODUCT_SMALL


def _has_large_blocks(device):
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] in HAVE_LARGE_BLOCKS
