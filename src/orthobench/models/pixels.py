"""Blocks of pixels as channels, and back, also of an empty batch, which torch's own functions leave as it is."""

import torch
from torch import nn


def pixel_unshuffle(x, stride):
    """Turn each stride by stride block of pixels into stride^2 channels, as `torch.nn.functional.pixel_unshuffle`.

    Raises
    ------
    ValueError
        If the stride does not divide the height and width.
    """
    channels, height, width = x.shape[-3:]
    if height % stride or width % stride:
        raise ValueError(f"the image is {height} by {width}, the stride {stride}: give a size that is a multiple of it")
    if x.numel():
        return torch.pixel_unshuffle(x, stride)
    return x.reshape(*x.shape[:-3], channels * stride**2, height // stride, width // stride)


def blocks_of(x, channels, stride):
    """Return what `pixel_unshuffle` does of images; raise ValueError unless they are (batch, channels, ...)."""
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"the input has the shape {tuple(x.shape)}: give (batch, {channels}, height, width)")
    return pixel_unshuffle(x, stride)


class PixelUnshuffle(nn.PixelUnshuffle):
    """`torch.nn.PixelUnshuffle`, also of an empty batch."""

    def forward(self, x):
        return pixel_unshuffle(x, self.downscale_factor)


class PixelShuffle(nn.PixelShuffle):
    """`torch.nn.PixelShuffle`, also of an empty batch."""

    def forward(self, x):
        if x.numel():
            return super().forward(x)
        channels, height, width = x.shape[-3:]
        factor = self.upscale_factor
        return x.reshape(*x.shape[:-3], channels // factor**2, height * factor, width * factor)
