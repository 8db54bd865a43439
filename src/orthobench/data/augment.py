"""Random changes to training images."""

import torch

from orthobench.data.parts import send
from orthobench.models.checks import check_integer


def flip_and_shift(images, generator, shift=2):
    """Flip each image left to right with probability 1/2, then shift it by up to `shift` pixels along each axis.

    Each of the (2 shift + 1)^2 shifts is as likely. What moves in from outside is the image's own reflection, border
    not repeated: the same as padding with mode "reflect", then cropping.

    Parameters
    ----------
    images : torch.Tensor
        (n, channels, height, width), of any type, on any device. Not changed.
    generator : torch.Generator
        Of the CPU, wherever the images are, so that a GPU gets the same changes. How far it moves on depends on n
        alone.
    shift : int
        In 0..min(height, width) - 1.

    Returns
    -------
    torch.Tensor
        New images of the same shape, type and device.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    if not isinstance(images, torch.Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, torch.Tensor) else repr(images)
        raise TypeError(f"images is {shape}: give a tensor (n, channels, height, width)")
    if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
        raise TypeError(f"generator is {generator!r}: give a torch.Generator of the CPU")
    count, channels, height, width = images.shape
    shift = check_integer("shift", shift, 0, min(height, width) - 1)
    flipped = torch.randint(2, (count, 1), generator=generator, device="cpu")
    down, right = torch.randint(-shift, shift + 1, (2, count, 1), generator=generator, device="cpu")
    rows = _reflect(torch.arange(height, device="cpu") - down, height)
    columns = _reflect(torch.arange(width, device="cpu") - right, width)
    columns = torch.where(flipped.bool(), width - 1 - columns, columns)
    places = send((rows[:, :, None] * width + columns[:, None, :]).flatten(1), images.device)
    moved = images.flatten(2).gather(2, places[:, None, :].expand(-1, channels, -1))
    return moved.view(images.shape)


def _reflect(places, length):
    """Bring places in -length < place < 2 length - 1 into 0..length - 1 by reflection in the first and the last."""
    return (length - 1) - ((length - 1) - places.abs()).abs()
