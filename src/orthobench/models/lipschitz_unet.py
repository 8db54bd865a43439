"""The network in which 1-Lipschitz layers are compared on dense outputs: one step down is one orthogonal step."""

import math
from numbers import Real

import torch
from torch import nn
from torch.nn.functional import pad

from orthobench.models.checks import check_integer, check_multiple
from orthobench.models.lipschitz_networks import FirstChannels, Isometry, check_kernel_size, convolutions_of
from orthobench.models.reproducible import seeded


def lipschitz_unet(
    seed,
    make_layer,
    make_head,
    make_activation=None,
    *,
    channels=1,
    classes=2,
    width=16,
    depth=2,
    convolutions=2,
    kernel_size=3,
    padding_mode="circular",
    skip_share=0.5,
):
    """Make an encoder-decoder with a Lipschitz constant of 1, if each of the layers that it is given has one.

    Zeros make `width` channels of the image's, and a 1x1 convolution follows. A level of c channels is `convolutions`
    times a convolution from c to c channels; a pixel unshuffle by 2, the next level of 4c channels on half the height
    and width, a pixel shuffle back, and the same number of convolutions. The level at the bottom has the first
    convolutions alone. Around what is between the shuffles goes a skip connection, whose 2c channels a 1x1 convolution
    mixes; c of them are kept. The head is a 1x1 convolution. An activation follows each convolution but the head. But
    for the layers, every step is linear with a norm of 1, and keeps distances where no channels are dropped: there is
    no stride, no interpolation (nearest and bilinear upsampling by 2 have a norm of 2) and no normalisation.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    make_layer : callable
        ``make_layer(channels, channels, kernel_size, padding_mode=...)`` returns a convolution that keeps the shape.
    make_head : callable
        ``make_head(inputs, outputs, 1)`` returns a 1x1 convolution.
    make_activation : callable, optional
        Returns what follows each convolution; nothing does if it is None: for layers with their own non-linearity.
    channels, classes : int
        Channels of the images; of the logits, at least 2.
    width : int
        Channels of the first level, even, at least `channels`.
    depth : int
        Levels below the first one.
    convolutions : int
        In each half of a level.
    kernel_size : int
        Of the levels' convolutions, odd.
    padding_mode : {"circular", "zeros"}
        Of the convolutions.
    skip_share : float
        b^2 in [0, 1): see `SkipConnection`. With 0 there is none, and nothing to mix.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, in float32. Maps images (batch, channels, h, w) to logits (batch, classes, h, w), for any h and w
        that are multiples of 2^depth, and at least `kernel_size` times that. Its bound is
        `orthobench.lipschitz.upper_bound`'s.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.

    Notes
    -----
    The layers of one kind are `orthobench.lipschitz.networks.layers_of(kind)`. The shape is that of Ronneberger,
    Fischer and Brox, "U-Net", MICCAI 2015.
    """
    channels = check_integer("channels", channels, 1)
    classes = check_integer("classes", classes, 2)
    width = check_integer("width", width, max(2, channels))
    check_multiple("width", width, 2)
    depth = check_integer("depth", depth, 0)
    convolutions = check_integer("convolutions", convolutions, 1)
    kernel_size = check_kernel_size(kernel_size)
    convolve = convolutions_of(make_layer, make_activation, padding_mode)
    check_share("skip_share", skip_share)

    def level(inputs, below):
        first = [each for _ in range(convolutions) for each in convolve(inputs, kernel_size)]
        if not below:
            return nn.Sequential(*first)
        inner = nn.Sequential(nn.PixelUnshuffle(2), level(4 * inputs, below - 1), nn.PixelShuffle(2))
        joined = [inner]
        if skip_share:
            joined = [SkipConnection(inner, skip_share), *convolve(2 * inputs, 1), FirstChannels(inputs)]
        last = [each for _ in range(convolutions) for each in convolve(inputs, kernel_size)]
        return nn.Sequential(*first, *joined, *last)

    with seeded(seed):
        start = [ZeroChannels(width, 2**depth, kernel_size * 2**depth), *convolve(width, 1)]
        return nn.Sequential(*start, level(width, depth), make_head(width, classes, 1))


def check_share(name, share):
    """Raise TypeError or ValueError unless a number is in [0, 1)."""
    if not isinstance(share, Real) or isinstance(share, bool):
        raise TypeError(f"{name} is {share!r}: give a number in [0, 1)")
    if not 0 <= share < 1:
        raise ValueError(f"{name} is {share}: give a number in [0, 1)")


class SkipConnection(nn.Module):
    """a f(x) and b x side by side, with a^2 + b^2 = 1: (batch, c, ...) to (batch, 2c, ...).

    Its Lipschitz constant is at most the root of a^2 L^2 + b^2 if that of f is L. It keeps distances if f does.

    Parameters
    ----------
    branch : torch.nn.Module
        f, which keeps the shape.
    share : float
        b^2, in [0, 1): of the square of a distance, what the skipped part keeps.
    """

    def __init__(self, branch, share=0.5):
        super().__init__()
        check_share("share", share)
        self.branch = branch
        self.share = float(share)

    @property
    def weights(self):
        """The numbers a and b."""
        return math.sqrt(1 - self.share), math.sqrt(self.share)

    def forward(self, maps):
        a, b = self.weights
        return torch.cat([a * self.branch(maps), b * maps], 1)

    def extra_repr(self):
        return f"share={self.share}"


class ZeroChannels(Isometry):
    """Zeros as further channels: (batch, c, h, w) to (batch, channels, h, w).

    Parameters
    ----------
    channels : int
        At least c.
    multiple, least : int
        What h and w must be a multiple of, and at least.
    """

    def __init__(self, channels, multiple=1, least=1):
        super().__init__()
        self.channels, self.multiple, self.least = channels, multiple, least

    def forward(self, images):
        height, width = images.shape[-2:]
        if images.ndim < 3 or images.shape[-3] > self.channels:
            raise ValueError(
                f"images has the shape {tuple(images.shape)}: give (..., c, h, w) with c <= {self.channels}"
            )
        if any(side % self.multiple or side < self.least for side in (height, width)):
            raise ValueError(
                f"images are {height} by {width}: give multiples of {self.multiple}, at least {self.least}; pad them, "
                "and ignore the pixels around"
            )
        return pad(images, (0, 0, 0, 0, 0, self.channels - images.shape[-3]))

    def extra_repr(self):
        return f"channels={self.channels}, multiple={self.multiple}, least={self.least}"
