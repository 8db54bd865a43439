"""torch's own layers, free and with torch's spectral normalisation: the constant they state is computed."""

from torch import nn
from torch.nn.utils import parametrizations

from .precision import in_full_precision
from .same import CircularConvTranspose2d, same_options, transposed_options, with_size_check
from .statement import norm_of, weight_of


class _ComputedBound:
    """A layer that states its true Lipschitz constant, computed from its weights in float64."""

    joint = True

    @property
    def lipschitz_bound(self):
        """The constant in evaluation mode; of a convolution, for images of every size, at most 2 % too large."""
        return norm_of(self, weight_of(self))


class Linear(_ComputedBound, nn.Linear):
    """`torch.nn.Linear` with its Lipschitz constant."""


class Conv2d(_ComputedBound, nn.Conv2d):
    """`torch.nn.Conv2d` with its Lipschitz constant."""


class ConvTranspose2d(_ComputedBound, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with its Lipschitz constant."""


def plain_conv2d(
    in_channels,
    out_channels,
    kernel_size,
    *,
    stride=1,
    dilation=1,
    groups=1,
    padding_mode="circular",
    transposed=False,
    bias=True,
    normalise=lambda layer: layer,
):
    """Make a convolution, or the transpose of one.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode, transposed, bias
        As in `orthobench.lipschitz.layers.make_layer`.
    normalise : callable
        Makes the layer, in place, the one that is returned: parametrises its weight.

    Returns
    -------
    nn.Module
    """
    if not transposed:
        layer = Conv2d(
            in_channels, out_channels, **same_options(kernel_size, stride, dilation, groups, padding_mode, bias)
        )
        return with_size_check(normalise(layer))
    if padding_mode == "zeros":
        options = transposed_options(kernel_size, stride, dilation, groups, bias)
        return normalise(ConvTranspose2d(in_channels, out_channels, **options))
    layer = ConvTranspose2d(in_channels, out_channels, kernel_size, stride, dilation=dilation, groups=groups, bias=bias)
    layer = normalise(layer)
    return layer if padding_mode == "valid" else CircularConvTranspose2d(layer)


def spectral_norm(layer):
    """Divide a layer's weight, as a matrix, by torch's estimate of its norm: one power iteration a training step.

    The estimate is never above the norm, and the norm of a convolution is not that of its kernel as a matrix: the
    constant of the result is near 1 for a dense layer and up to k for a convolution. The layer states the true one.

    References
    ----------
    Miyato, Kataoka, Koyama & Yoshida (2018), Spectral normalization for generative adversarial networks,
    arXiv:1802.05957.
    """
    return in_full_precision(parametrizations.spectral_norm(layer, eps=1e-30))  # 1e-12, the default, is a large norm


def spectral_linear(in_channels, out_channels, bias=True):
    """Make a dense layer with torch's spectral normalisation."""
    return spectral_norm(Linear(in_channels, out_channels, bias=bias))


def spectral_conv2d(in_channels, out_channels, kernel_size, **options):
    """Make a convolution with torch's spectral normalisation; the options are those of `plain_conv2d`."""
    return plain_conv2d(in_channels, out_channels, kernel_size, normalise=spectral_norm, **options)
