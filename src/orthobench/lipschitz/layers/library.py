"""Orthogonium's layers, with what their promises need: a safe normalisation, padding, and starting weights.

Orthogonium is an optional dependency, and imported when one of its layers is made. What is done differently from its
defaults, and why:

- Its power iteration underestimates the norm, and changes its state in evaluation too. `GelfandNormaliser` does
  neither.
- QR needs no normalisation before it.
- Its parametrisations are computed in float32 or better under autocast.
- Strides and image sizes that don't fit, or groups that don't fit the channels between two factors, are refused.
- AOL's bound ignores a stride, which would make the layer several times as contractive as needed: blocks of pixels
  become channels instead, as in AOL's paper. Its kernel starts orthogonal; the scaling q, which cancels out, is no
  parameter.
- A transposed convolution with circular padding is one of Orthogonium's without padding, in `CircularConvTranspose2d`.
"""

import math
from functools import partial

import torch
from torch import nn
from torch.nn.utils import parametrize

from ...models.pixels import PixelShuffle, PixelUnshuffle
from .bjorck import GelfandNormaliser
from .precision import in_full_precision
from .same import CircularConvTranspose2d, same_options, transposed_options, with_size_check
from .statement import StatedSequential, stated

BJORCK_STEPS = 12
# From the random matrices of AOC, which are ill-conditioned if they are nearly square, 12 aren't enough.
BJORCK_STEPS_FROM_SQUARE = 25
EXPONENTIAL_TERMS = 12


def _reparametrizers():
    try:
        from orthogonium import reparametrizers
    except ImportError as error:
        raise ImportError(
            "this kind of layer is Orthogonium's, which can't be imported: pip install 'orthobench[libraries]'"
        ) from error
    return reparametrizers


def ortho_parameters(orthogonaliser, steps_from_square=BJORCK_STEPS):
    """Return Orthogonium's parameters for an orthogonaliser: "bjorck", "qr" or "exp".

    Björck's iteration takes `steps_from_square` steps for a matrix whose sides differ by less than a factor of 2.
    """
    library = _reparametrizers()

    def bjorck(weight_shape):
        short, long = sorted(weight_shape[-2:])
        steps = steps_from_square if 2 * short > long else BJORCK_STEPS
        return library.BatchedBjorckOrthogonalization(weight_shape, beta=0.5, niters=steps, pass_through=False)

    normaliser = library.BatchedIdentity if orthogonaliser == "qr" else GelfandNormaliser
    method = {
        "bjorck": bjorck,
        "qr": library.BatchedQROrthogonalization,
        "exp": partial(library.BatchedExponentialOrthogonalization, niters=EXPONENTIAL_TERMS),
    }[orthogonaliser]
    return library.OrthoParams(spectral_normalizer=normaliser, orthogonalizer=method)


def _prepared(layer):
    """Compute a layer's parametrisations in float32, or in float64 if that is its type; return the layer."""
    for module in layer.modules():
        if isinstance(module, _reparametrizers().L2Normalize):
            module.dtype = None  # it would refuse a layer whose type has changed
    return in_full_precision(layer)


def orthogonal_linear(in_channels, out_channels, bias=True, *, orthogonaliser):
    """Make Orthogonium's `OrthoLinear`."""
    parameters = ortho_parameters(orthogonaliser)
    from orthogonium.layers import OrthoLinear

    layer = OrthoLinear(in_channels, out_channels, bias=bias, ortho_params=parameters)
    return stated(_prepared(layer))


def unit_norm_linear(in_channels, out_channels, bias=True):
    """Make Orthogonium's `UnitNormLinear`: each output, on its own, is 1-Lipschitz."""
    _reparametrizers()
    from orthogonium.layers import UnitNormLinear

    return stated(_prepared(UnitNormLinear(in_channels, out_channels, bias=bias)), joint=False)


def rko_conv2d(
    in_channels, out_channels, kernel_size, *, stride=1, dilation=1, groups=1, padding_mode="circular", bias=True
):
    """Make Orthogonium's `RKOConv2d`: an orthogonal matrix (out, in k^2) as a kernel, divided by ceil(k / stride)."""
    parameters = ortho_parameters("bjorck")
    from orthogonium.layers.conv.AOC.rko_conv import RKOConv2d

    _check_dilation(stride, dilation)

    options = same_options(kernel_size, stride, dilation, groups, padding_mode, bias)
    layer = RKOConv2d(in_channels, out_channels, **options, ortho_params=parameters)
    return stated(with_size_check(_prepared(layer)))


def aoc_conv2d(
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
    orthogonaliser,
):
    """Make Orthogonium's `AdaptiveOrthoConv2d`, or its `AdaptiveOrthoConvTranspose2d`.

    Raises
    ------
    ValueError
        If a group has a single channel to mix, or the groups don't divide the channels between the two factors of a
        strided convolution.
    """
    parameters = ortho_parameters(orthogonaliser, BJORCK_STEPS_FROM_SQUARE)
    from orthogonium.layers import AdaptiveOrthoConv2d, AdaptiveOrthoConvTranspose2d

    _check_inner_channels(in_channels, out_channels, kernel_size, stride, groups, transposed)
    # Any rows of a narrowing convolution that is orthogonal without the stride are orthogonal.
    if transposed or kernel_size == stride or out_channels >= in_channels:
        _check_dilation(stride, dilation)
    if not transposed:
        options = same_options(kernel_size, stride, dilation, groups, padding_mode, bias)
        layer = AdaptiveOrthoConv2d(in_channels, out_channels, **options, ortho_params=parameters)
        return stated(with_size_check(_prepared(layer)))
    transpose = partial(AdaptiveOrthoConvTranspose2d, in_channels, out_channels, ortho_params=parameters)
    return _transposed(transpose, padding_mode, kernel_size, stride, dilation, groups, bias)


def _check_dilation(stride, dilation):
    """Raise ValueError unless the taps of a kernel as large as the stride look at all pixels of a block."""
    if math.gcd(stride, dilation) > 1:
        raise ValueError(
            f"stride is {stride} and dilation {dilation}: such a kernel sees some pixels more often than others, give "
            "numbers without a common divisor"
        )


def _check_inner_channels(in_channels, out_channels, kernel_size, stride, groups, transposed):
    if kernel_size == stride:
        return
    if transposed:
        in_channels, out_channels = out_channels, in_channels
    inner = max(in_channels, out_channels // stride**2)
    if stride > 1 and inner % groups:
        raise ValueError(
            f"the convolution has {inner} channels between its two factors, which groups, {groups}, does not divide: "
            f"give channels that are multiples of groups * stride^2, {groups * stride**2}"
        )
    if inner // groups < 2:
        raise ValueError(
            f"in_channels is {in_channels}, out_channels {out_channels}, groups {groups}: give 2 or more channels for "
            f"each group with kernel_size above stride ({kernel_size}, {stride}): a kernel needs two to mix"
        )


def _transposed(transpose, padding_mode, kernel_size, stride, dilation, groups, bias):
    """Make a transposed convolution by a function of torch's options, with any padding."""
    if padding_mode == "zeros":
        return stated(_prepared(transpose(**transposed_options(kernel_size, stride, dilation, groups, bias))))
    layer = transpose(kernel_size=kernel_size, stride=stride, dilation=dilation, groups=groups, bias=bias)
    layer = stated(_prepared(layer))
    return layer if padding_mode == "valid" else CircularConvTranspose2d(layer)


def aol_conv2d(
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
):
    """Make Orthogonium's `AOLConv2D` or `AOLConvTranspose2D`; with a stride, blocks of pixels are channels of it.

    Returns
    -------
    nn.Module
        The layer, or a `torch.nn.Sequential` of it behind `torch.nn.PixelUnshuffle` or before `torch.nn.PixelShuffle`.
    """
    _reparametrizers()
    from orthogonium.layers.conv.AOL import AOLConv2D, AOLConvTranspose2D

    if transposed:
        transpose = partial(AOLConvTranspose2D, in_channels, out_channels * stride**2)
        layer = _transposed(transpose, padding_mode, kernel_size, 1, dilation, groups, bias)
        _start_aol(layer.convolution if padding_mode == "circular" else layer)
        return layer if stride == 1 else StatedSequential(layer, PixelShuffle(stride))
    options = same_options(kernel_size, 1, dilation, groups, padding_mode, bias)
    if in_channels * stride**2 == out_channels == groups:  # its start fails for a group of one channel
        AOLConv2D = type("AOLConv2D", (AOLConv2D,), {"reset_parameters": nn.Conv2d.reset_parameters})
    layer = stated(_prepared(AOLConv2D(in_channels * stride**2, out_channels, **options)))
    _start_aol(layer)
    return layer if stride == 1 else StatedSequential(PixelUnshuffle(stride), layer)


def _start_aol(layer):
    """Let an AOL layer start from an orthogonal kernel, which AOL leaves as it is; take q out of the parameters."""
    from orthogonium.layers.conv.init import conv_orthogonal_

    (wrapped,) = layer.parametrizations.weight
    wrapped.parametrisation.q.requires_grad_(False)
    kernel = layer.parametrizations.weight.original
    with torch.no_grad():
        if max(kernel.shape[0] // layer.groups, kernel.shape[1]) > 1:
            conv_orthogonal_(kernel, groups=layer.groups, ortho_params=ortho_parameters("qr"))
        else:  # one channel has none to mix with: the identity
            centre = (kernel.shape[-1] - 1) // 2
            kernel.zero_()[..., centre, centre] = 1


class _AsKernel(nn.Module):
    """A parametrisation of kernels, used for a matrix."""

    def __init__(self, parametrisation):
        super().__init__()
        self.parametrisation = parametrisation

    def forward(self, weight):
        return self.parametrisation(weight[..., None, None])[..., 0, 0]


def aol_linear(in_channels, out_channels, bias=True):
    """Make a `torch.nn.Linear` with the AOL rescaling of Orthogonium's convolutions, from an orthogonal start."""
    _reparametrizers()
    from orthogonium.layers.conv.AOL.aol import MultiStepAOLReparametrizer

    rescaling = MultiStepAOLReparametrizer(min(in_channels, out_channels), groups=1, niter=1)
    rescaling.q.requires_grad_(False)
    layer = nn.Linear(in_channels, out_channels, bias=bias)
    nn.init.orthogonal_(layer.weight)
    parametrize.register_parametrization(layer, "weight", _AsKernel(rescaling))
    return stated(_prepared(layer))
