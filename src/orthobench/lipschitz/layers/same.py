"""torch's own convolutions of the input's size (divided by the stride) or without padding, and what they need."""

import torch
from torch import nn
from torch.nn.functional import conv_transpose2d

from .spectra import circular_norm, same_padding


def same_options(kernel_size, stride=1, dilation=1, groups=1, padding_mode="circular", bias=True):
    """Return the options with which a `torch.nn.Conv2d` returns images of the input's size divided by its stride.

    With the padding mode "valid", smaller ones, without the border.
    """
    padding = "same" if stride == 1 else dilation * (kernel_size - 1) // 2
    return {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": 0 if padding_mode == "valid" else padding,
        "dilation": dilation,
        "groups": groups,
        "padding_mode": "zeros" if padding_mode == "valid" else padding_mode,
        "bias": bias,
    }


def transposed_options(kernel_size, stride=1, dilation=1, groups=1, bias=True):
    """Return the options with which a `torch.nn.ConvTranspose2d` returns images of the input's size times its stride.

    Its padding cuts the border off, and reads zeros beyond it.

    Raises
    ------
    ValueError
        If there are none: for an even kernel at stride 1.
    """
    reach = dilation * (kernel_size - 1)
    padding = (reach + 2 - stride) // 2
    output_padding = stride - 1 + 2 * padding - reach
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"kernel_size is {kernel_size} with transposed=True, stride=1 and padding_mode='zeros': give an odd one, "
            "or padding_mode='circular'"
        )
    return {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
        "dilation": dilation,
        "groups": groups,
        "bias": bias,
    }


def refuse_ragged_sizes(convolution, inputs):
    """Forward pre-hook of a strided convolution: raise ValueError unless the stride divides the image's size.

    A circular convolution would otherwise see pixels at the edge more often than others, and have a larger norm.
    """
    size, stride = tuple(inputs[0].shape[-2:]), convolution.stride[0]
    if any(n % stride for n in size):
        raise ValueError(
            f"the image is {size[0]} by {size[1]}, the stride {stride}: give a size that is a multiple of it"
        )


def with_size_check(convolution):
    """Add `refuse_ragged_sizes` to a convolution of a stride above 1; return it."""
    if convolution.stride[0] > 1:
        convolution.register_forward_pre_hook(refuse_ragged_sizes)
    return convolution


class CircularConvTranspose2d(nn.Module):
    """The transpose of a circular convolution: what reaches beyond the border comes in on the other side.

    torch's own transposed convolutions have no circular padding. Images (batch, in, h, w) become (batch, out, h s, w s)
    at stride s. The norm and the singular values are those of the circular convolution from out to in channels.

    Parameters
    ----------
    convolution : nn.ConvTranspose2d
        Without padding; its weight may be parametrised.
    """

    def __init__(self, convolution):
        super().__init__()
        self.convolution = convolution

    @property
    def lipschitz_bound(self):
        """That of the convolution."""
        return self.convolution.lipschitz_bound

    @property
    def joint(self):
        """Whether the bound is on the spectral norm."""
        return self.convolution.joint

    def forward(self, x):
        inner = self.convolution
        stride, dilation = inner.stride[0], inner.dilation[0]
        y = conv_transpose2d(x, inner.weight, None, stride, groups=inner.groups, dilation=dilation)
        before, _ = same_padding(inner.kernel_size[0], dilation)
        for axis in (-2, -1):
            y = _fold(y, axis, x.shape[axis] * stride, before)
        return y if inner.bias is None else y + inner.bias[:, None, None]

    @torch.no_grad()
    def certified_bound(self, input_shape):
        """Compute the Lipschitz constant, in float64.

        Parameters
        ----------
        input_shape : (int, int, int)
            Channels, height and width of the input.
        """
        inner = self.convolution
        size = [n * inner.stride[0] for n in input_shape[-2:]]
        return circular_norm(inner.weight, size, inner.stride[0], inner.dilation[0], inner.groups)


def _fold(y, axis, n, before):
    """Add what lies beyond the n pixels behind the first `before` to the other side."""
    index = (torch.arange(y.shape[axis], device=y.device) - before) % n
    shape = list(y.shape)
    shape[axis] = n
    return y.new_zeros(shape).index_add(axis % y.ndim, index, y)
