"""Layers for training without clipping: their gradients are bounded by norms of their inputs and of what flows back.

Each has a rule in `orthobench.privacy.rules`. Their parameters are free ones, held to a norm of at most 1 by a
projection after each step: a parametrisation such as that of an orthogonal layer would put its own Jacobian, which
isn't bounded, between the gradient of the parameter and that of the weight.
"""

import math

import torch
from torch import nn
from torch.nn.functional import conv2d, pad

from ..lipschitz.bounds import upper_bound
from ..lipschitz.layers.spectra import circular_norm, same_padding
from ..lipschitz.losses import check_number
from ..models.checks import check_integer
from .inputs import clip_examples


class ClipInput(nn.Module):
    """Scale each example down to a norm of at most R: x min(1, R / ||x||). The first layer of a private network.

    An example that isn't finite becomes zero.

    Parameters
    ----------
    norm : float
        R, positive.
    """

    def __init__(self, norm):
        super().__init__()
        self.norm = check_number("norm", norm, 0, strict=True)

    def forward(self, x):
        return clip_examples(x, self.norm).inputs

    def certified_bound(self, input_shape):
        """Return 1.0: the projection onto a ball."""
        return 1.0

    def extra_repr(self):
        return f"norm={self.norm}"


class NormBoundedBias(nn.Module):
    """Add a vector b, one entry a channel, whose norm is held to at most a given one.

    Its gradient is the sum over the P places of a map, so that it is up to sqrt(P) times that of the outputs, and what
    it adds to the norm of a map is up to sqrt(P) ||b||.

    Parameters
    ----------
    channels : int
        Of inputs (batch, channels, ...).
    norm : float
        What ||b|| is projected to, positive.
    """

    def __init__(self, channels, norm=1.0):
        super().__init__()
        self.norm = check_number("norm", norm, 0, strict=True)
        self.bias = nn.Parameter(torch.zeros(check_integer("channels", channels, 1)))

    def forward(self, x):
        return x + self.bias.view(-1, *[1] * (x.ndim - 2))

    def certified_bound(self, input_shape):
        """Return 1.0: a translation."""
        return 1.0

    def extra_repr(self):
        return f"{len(self.bias)}, norm={self.norm}"


class RKOConv2d(nn.Module):
    r"""A convolution, of the input's size over its stride, with the kernel Theta / kappa.

    Each pixel is seen by at most kappa^2 = ceil(k / stride)^2 taps, so that the norm of the convolution is at most that
    of Theta as a matrix (out, in k k), and the gradient of Theta at most the product of the norms of the inputs and of
    the gradient of the outputs: those are bounds for every image and kernel. Others divide by an average over the
    pixels, which is smaller, and their norm exceeds 1.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        k, odd.
    stride : int
    padding_mode : {"circular", "zeros"}

    References
    ----------
    Li, Haque, Anil, Lucas, Grosse & Jacobsen (2019), Preventing gradient attenuation in Lipschitz constrained
    convolutional networks, arXiv:1911.00937: reshaped kernel orthogonalisation (RKO). Serrurier et al., CVPR 2021,
    for the average.
    """

    def __init__(self, in_channels, out_channels, kernel_size, *, stride=1, padding_mode="circular"):
        super().__init__()
        self.in_channels = check_integer("in_channels", in_channels, 1)
        self.out_channels = check_integer("out_channels", out_channels, 1)
        self.kernel_size = check_integer("kernel_size", kernel_size, 1)
        self.stride = check_integer("stride", stride, 1)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}: give an odd number, so that maps keep their size")
        if padding_mode not in ("circular", "zeros"):
            raise ValueError(f"padding_mode is {padding_mode!r}: give circular or zeros")
        self.padding_mode = padding_mode
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        nn.init.orthogonal_(self.weight)

    @property
    def multiplicity(self):
        """kappa: the square root of the number of taps that see a pixel, at most."""
        return math.ceil(self.kernel_size / self.stride)

    def forward(self, x):
        if any(n % self.stride for n in x.shape[-2:]):
            raise ValueError(
                f"the image is {x.shape[-2]} by {x.shape[-1]}, the stride {self.stride}: give a multiple of it"
            )
        before, behind = same_padding(self.kernel_size)
        mode = "circular" if self.padding_mode == "circular" else "constant"
        x = pad(x, (before, behind, before, behind), mode=mode)
        return conv2d(x, self.weight / self.multiplicity, stride=self.stride)

    @torch.no_grad()
    def certified_bound(self, input_shape):
        """Return the norm in float64: exact for circular padding, that of the larger circular image for zeros."""
        margin = 0 if self.padding_mode == "circular" else math.ceil((self.kernel_size - 1) / self.stride) * self.stride
        size = tuple(n + margin for n in input_shape[-2:])
        return circular_norm(self.weight.double() / self.multiplicity, size, self.stride)

    def extra_repr(self):
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding_mode={self.padding_mode!r}"
        )


class Centring(nn.Module):
    """Subtract from each example the mean of its features, or of each channel over its places: a projection."""

    def forward(self, x):
        """Centre x (batch, features) or (batch, channels, places...)."""
        axes = 1 if x.ndim == 2 else tuple(range(2, x.ndim))
        return x - x.mean(axes, keepdim=True)

    def certified_bound(self, input_shape):
        """Return 1.0."""
        return 1.0


class L2NormPooling(nn.Module):
    """The Euclidean norm of each window of k x k pixels: (batch, c, h, w) to (batch, c, h / k, w / k).

    1-Lipschitz, as windows are disjoint; the gradient of a window of zeros is zero (that of `torch.nn.LPPool2d` isn't a
    number).

    Parameters
    ----------
    kernel_size : int
        k, which divides h and w.
    """

    # Squares below this lose digits, and the norm of the gradient could exceed 1: such windows count as zero.
    _smallest = 1e-30

    def __init__(self, kernel_size):
        super().__init__()
        self.kernel_size = check_integer("kernel_size", kernel_size, 1)

    def forward(self, x):
        k = self.kernel_size
        if x.ndim != 4 or any(n % k for n in x.shape[-2:]):
            raise ValueError(f"images of shape {tuple(x.shape)}: give (batch, c, h, w), h and w multiples of {k}")
        windows = x.unflatten(3, (-1, k)).unflatten(2, (-1, k))
        squares = windows.square().sum((3, 5))
        seen = squares > self._smallest
        return torch.where(seen, torch.where(seen, squares, 1).sqrt(), 0)

    def certified_bound(self, input_shape):
        """Return 1.0."""
        return 1.0

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}"


class MeanResidual(nn.Module):
    """(x + f(x)) / 2, which is 1-Lipschitz if f is.

    Parameters
    ----------
    branch : torch.nn.Module
        f, which keeps the shape.
    """

    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        y = self.branch(x)
        if y.shape != x.shape:
            raise ValueError(
                f"the branch of MeanResidual must keep the shape {tuple(x.shape)}, got {tuple(y.shape)}; a broadcast "
                "sum has another constant."
            )
        return (x + y) / 2

    def certified_bound(self, input_shape):
        """Return (1 + that of the branch) / 2."""
        return (1 + upper_bound(self.branch, input_shape).total) / 2
