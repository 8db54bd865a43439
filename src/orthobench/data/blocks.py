"""A digit beside a block that says nothing: an explanation that points at that block is wrong."""

import torch

from orthobench.data.images import digits_parts
from orthobench.data.parts import Examples, Parts

SIZE = 8
NULL_BLOCKS = ("empty", "frame")


def digit_blocks(null="empty", seed=0):
    """Scikit-learn's digits, each beside a block that says nothing of its class; on which side is random.

    Semi-synthetic: a small BlockMNIST (Shah, Jain and Netrapalli, "Do input gradients highlight discriminative
    features?", NeurIPS 2021). Parts are those of `digits_parts`, image for image.

    Parameters
    ----------
    null : {"empty", "frame"}
        The other block: all 0; or the outline of a square, which has about as much ink as a digit.
    seed : int
        Of the sides.

    Returns
    -------
    Parts of Examples
        Images (n, 1, 8, 16), float32, in [0, 1]; labels (n,), int64, in 0..9. `null_block_mask` tells which pixels are
        the other block's.

    Raises
    ------
    ValueError
        If `null` is neither.
    """
    block = _null_block(null)
    generator = torch.Generator().manual_seed(seed)
    return Parts(*(Examples(_beside(part.inputs, block, generator), part.targets) for part in digits_parts()))


def null_block_mask(images, null="empty"):
    """Return which pixels of images of `digit_blocks` are those of the block that says nothing.

    Parameters
    ----------
    images : torch.Tensor
        (n, 1, 8, 16).
    null : {"empty", "frame"}
        As the images were made with.

    Returns
    -------
    torch.Tensor
        (n, 8, 16), bool, on the device of the images.

    Raises
    ------
    ValueError
        If `null` is neither, or an image doesn't have exactly one such block.
    """
    block = _null_block(null)
    if not isinstance(images, torch.Tensor) or images.shape[1:] != (1, SIZE, 2 * SIZE):
        got = f"of shape {tuple(images.shape)}" if isinstance(images, torch.Tensor) else f"a {type(images).__name__}"
        raise ValueError(f"images are {got}: give a tensor (n, 1, {SIZE}, {2 * SIZE}), of digit_blocks")
    block = block.to(images)
    sides = images[:, 0].unflatten(2, (2, SIZE)) == block[:, None]  # (n, rows, sides, columns)
    is_null = sides.all(3).all(1)
    wrong = (is_null.sum(1) != 1).nonzero().flatten()
    if len(wrong):
        raise ValueError(
            f"image {int(wrong[0])} has {int(is_null[wrong[0]].sum())} blocks that are {null!r}, not one: "
            "give images of digit_blocks, and the same null"
        )
    return is_null[:, None, :, None].expand(-1, SIZE, -1, SIZE).flatten(2)


def _beside(digits, block, generator):
    on_the_left = torch.randint(2, (len(digits), 1, 1, 1), generator=generator).bool()
    blocks = block.expand_as(digits)
    first, second = torch.where(on_the_left, digits, blocks), torch.where(on_the_left, blocks, digits)
    return torch.cat([first, second], dim=3)


def _null_block(null):
    if null not in NULL_BLOCKS:
        raise ValueError(f"null is {null!r}: give {' or '.join(NULL_BLOCKS)}")
    block = torch.zeros(SIZE, SIZE)
    if null == "frame":
        block[1:-1, 1:-1] = 1
        block[2:-2, 2:-2] = 0
    return block
