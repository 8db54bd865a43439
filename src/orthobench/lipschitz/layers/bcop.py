"""Block convolution orthogonal parametrisation: a kernel composed of 2 by 2 orthogonal ones."""

import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.nn.utils import parametrize

from ...models.pixels import PixelUnshuffle
from .bjorck import bjorck_iteration, gelfand_norm
from .precision import in_full_precision
from .same import same_options
from .statement import StatedSequential, stated


class BCOPKernel(nn.Module):
    r"""Parametrisation of an orthogonal kernel (out, in, k, k) by 2 k - 1 square matrices of width max(in, out).

    Björck's iteration makes each orthogonal. The first is the orthogonal matrix between the channels; of each other,
    the first half of the columns spans the range of a projector P. Two of these make the orthogonal 2 by 2 kernel [[P
    Q, P (I - Q)], [(I - P) Q, (I - P) (I - Q)]], and k - 1 of those, one after the other, the k by k kernel. Should the
    iteration not have converged, 0 <= P <= I still holds, and the norm stays <= 1.

    References
    ----------
    Li, Haque, Anil, Lucas, Grosse & Jacobsen (2019), Preventing gradient attenuation in Lipschitz constrained
    convolutional networks, arXiv:1911.00937.
    """

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels

    def forward(self, matrices):
        Q = bjorck_iteration(matrices / gelfand_norm(matrices))
        halves = Q[1:, :, : Q.shape[-1] // 2]
        projectors = halves @ halves.mT
        kernel = Q[0, :, : self.in_channels, None, None]
        for P, R in zip(projectors[::2], projectors[1::2], strict=True):
            kernel = _then(kernel, _block(P, R))
        return kernel[: self.out_channels].contiguous()


def _block(P, R):
    """The orthogonal kernel (width, width, 2, 2) of two projectors."""
    identity = torch.eye(len(P), dtype=P.dtype, device=P.device)
    rows, columns = torch.stack([P, identity - P]), torch.stack([R, identity - R])
    return torch.einsum("aij,bjk->ikab", rows, columns)


def _then(first, second):
    """The kernel of one convolution after another."""
    margin = second.shape[-1] - 1
    return conv2d(first.transpose(0, 1), second.flip(-1, -2), padding=margin).transpose(0, 1)


def bcop_conv2d(in_channels, out_channels, kernel_size, *, stride=1, dilation=1, padding_mode="circular", bias=True):
    """Make a `torch.nn.Conv2d` with a BCOP kernel; a stride first turns blocks of pixels into channels.

    Returns
    -------
    nn.Module
        A `torch.nn.Conv2d`, or a `torch.nn.Sequential` of `torch.nn.PixelUnshuffle` and one.

    Raises
    ------
    ValueError
        If there are not two channels to mix for a kernel above 1.
    """
    inputs = in_channels * stride**2
    width = max(inputs, out_channels)
    if width < 2 and kernel_size > 1:
        raise ValueError(f"in_channels and out_channels are 1 with kernel_size {kernel_size}: give 2 or more of either")
    options = same_options(kernel_size, dilation=dilation, padding_mode=padding_mode, bias=bias)
    layer = nn.Conv2d(inputs, out_channels, **options)
    layer.weight = nn.Parameter(torch.empty(2 * kernel_size - 1, width, width))
    for matrix in layer.weight.detach():
        nn.init.orthogonal_(matrix)
    parametrize.register_parametrization(layer, "weight", BCOPKernel(inputs, out_channels), unsafe=True)
    stated(in_full_precision(layer))
    return layer if stride == 1 else StatedSequential(PixelUnshuffle(stride), layer)
