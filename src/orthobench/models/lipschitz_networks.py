"""The networks in which 1-Lipschitz layers are compared: the layers are given, all else is fixed."""

import math

from torch import nn
from torch.nn.functional import pad

from orthobench.models.checks import check_integer, check_multiple
from orthobench.models.pixels import PixelUnshuffle
from orthobench.models.reproducible import seeded

PADDING_MODES = ("circular", "zeros")


def lipschitz_convnet(
    seed,
    make_layer,
    make_head,
    make_activation=None,
    *,
    channels=1,
    size=8,
    outputs=10,
    width=16,
    blocks=2,
    convolutions=3,
    kernel_size=3,
    padding_mode="circular",
):
    """Make a convolutional network with a Lipschitz constant of 1, if each of the layers that it is given has one.

    The image is padded with zeros to `width` channels, and to a height and width that halve `blocks` times. A 1x1
    convolution follows, then the blocks: `convolutions` times a convolution from c to c channels, the first c / 2
    channels, and a pixel unshuffle by 2, which makes 2c channels of half the height and width of them. A linear head
    reads all of the last map. An activation follows each convolution. Kernels are 1x1 where a map is smaller than
    `kernel_size`. But for the layers, every step is linear with a norm of 1.

    With 5 blocks of 5 convolutions, on images of 32 pixels, it is the network of Prach, Brau, Buttazzo and Lampert,
    "1-Lipschitz Layers Compared: Memory, Speed, and Certifiable Robustness", CVPR 2024: its sizes XS, S, M and L have
    a width of 16, 32, 64 and 128. Its head maps to as many features as it gets and keeps the first ones; this one maps
    to `outputs` at once. The defaults are a small one for CPUs and images of 8 pixels.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    make_layer : callable
        ``make_layer(channels, channels, kernel_size, padding_mode=...)`` returns a convolution that keeps the shape.
    make_head : callable
        ``make_head(inputs, outputs)`` returns a linear layer.
    make_activation : callable, optional
        Returns what follows each convolution; nothing does if it is None: for layers with their own non-linearity.
    channels, size : int
        Channels of the images; their height and width.
    outputs : int
        Length of the result: one for each class, or 1 for a score.
    width : int
        Channels of the first block, even, at least `channels`.
    blocks, convolutions : int
        Number of blocks; of convolutions in each.
    kernel_size : int
        Of the blocks' convolutions, odd.
    padding_mode : {"circular", "zeros"}
        Of the convolutions.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, in float32. Maps images (batch, channels, size, size) to (batch, outputs).

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    channels = check_integer("channels", channels, 1)
    size = check_integer("size", size, 1)
    outputs = check_integer("outputs", outputs, 1)
    width = check_integer("width", width, max(2, channels))
    check_multiple("width", width, 2)
    blocks = check_integer("blocks", blocks, 1)
    convolutions = check_integer("convolutions", convolutions, 1)
    kernel_size = check_kernel_size(kernel_size)
    convolve = convolutions_of(make_layer, make_activation, padding_mode)

    side = math.ceil(size / 2**blocks) * 2**blocks
    with seeded(seed):
        layers = [ZeroPadding(width, side), *convolve(width, 1)]
        for _ in range(blocks):
            kernel = kernel_size if side >= kernel_size else 1
            block = [each for _ in range(convolutions) for each in convolve(width, kernel)]
            layers.append(nn.Sequential(*block, FirstChannels(width // 2), PixelUnshuffle(2)))
            side, width = side // 2, 2 * width
        return nn.Sequential(*layers, nn.Flatten(), make_head(width * side**2, outputs))


def check_kernel_size(kernel_size):
    """Return the size of a kernel that keeps that of maps; raise TypeError or ValueError unless it is odd."""
    kernel_size = check_integer("kernel_size", kernel_size, 1)
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}: give an odd number, so that maps keep their size")
    return kernel_size


def convolutions_of(make_layer, make_activation, padding_mode):
    """Return the function that makes a convolution of so many channels and its activation, if any, as a list."""
    if padding_mode not in PADDING_MODES:
        raise ValueError(f"padding_mode is {padding_mode!r}: give {' or '.join(PADDING_MODES)}")

    def convolve(channels, kernel_size):
        activation = [] if make_activation is None else [make_activation()]
        return [make_layer(channels, channels, kernel_size, padding_mode=padding_mode), *activation]

    return convolve


def lipschitz_mlp(seed, make_layer, make_head, make_activation=None, *, features=64, outputs=10, width=128, depth=3):
    """Make a dense network with a Lipschitz constant of 1, if each of the layers that it is given has one.

    Flattened images get zeros as further features; `depth` square layers follow, each with an activation, and a head.

    Parameters
    ----------
    seed : int
        Decides the initial weights, in 0..2**63 - 1.
    make_layer : callable
        ``make_layer(features, features)`` returns a dense layer that keeps the shape.
    make_head : callable
        ``make_head(inputs, outputs)`` returns a linear layer.
    make_activation : callable, optional
        Returns what follows each layer; nothing does if it is None.
    features : int
        Of an image: channels times height times width.
    outputs : int
        Length of the result.
    width : int
        Features of each layer, even, at least `features`.
    depth : int
        Number of layers before the head.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, in float32. Maps images (batch, ...) to (batch, outputs).

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    features = check_integer("features", features, 1)
    outputs = check_integer("outputs", outputs, 1)
    width = check_integer("width", width, max(2, features))
    check_multiple("width", width, 2)
    depth = check_integer("depth", depth, 1)
    with seeded(seed):
        layers = []
        for _ in range(depth):
            layers.append(make_layer(width, width))
            layers += [] if make_activation is None else [make_activation()]
        return nn.Sequential(nn.Flatten(), ZeroFeatures(width), *layers, make_head(width, outputs))


class Isometry(nn.Module):
    """A step with a Lipschitz constant of 1, whatever it gets."""

    def certified_bound(self, input_shape):
        """Return 1.0, an upper bound on the Lipschitz constant for any shape."""
        return 1.0


class ZeroPadding(Isometry):
    """Zeros as further channels, and around the image: (batch, c, h, w) to (batch, channels, side, side).

    Parameters
    ----------
    channels, side : int
        At least those of the images. An odd difference of sizes puts one more row (column) below (right).
    """

    def __init__(self, channels, side):
        super().__init__()
        self.channels, self.side = channels, side

    def forward(self, images):
        # Larger images would be cut without a word.
        if images.shape[-3] > self.channels or max(images.shape[-2:]) > self.side:
            raise ValueError(
                f"images has the shape {tuple(images.shape)}: give (..., c, h, w) with c <= {self.channels} and h, w "
                f"<= {self.side}"
            )
        down, right = (self.side - each for each in images.shape[-2:])
        borders = (right // 2, right - right // 2, down // 2, down - down // 2)
        return pad(images, (*borders, 0, self.channels - images.shape[-3]))

    def extra_repr(self):
        return f"channels={self.channels}, side={self.side}"


class ZeroFeatures(Isometry):
    """Zeros as further features: (batch, n) to (batch, width).

    Parameters
    ----------
    width : int
        At least n.
    """

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, features):
        if features.shape[-1] > self.width:
            raise ValueError(f"features has the shape {tuple(features.shape)}: give (..., n) with n <= {self.width}")
        return pad(features, (0, self.width - features.shape[-1]))

    def extra_repr(self):
        return f"width={self.width}"


class FirstChannels(Isometry):
    """The first channels alone: (batch, c, h, w) to (batch, count, h, w)."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, maps):
        return maps[:, : self.count]

    def extra_repr(self):
        return f"count={self.count}"
