"""The base of the convolutions that are made orthogonal frequency by frequency."""

import math

import torch
from torch import nn

from ...linalg.scaling import at_least_float32
from ...models.pixels import blocks_of
from .precision import full_precision
from .remembered import remember
from .spectra import apply_spectrum, kernel_spectrum, largest_singular_value
from .statement import OneLipschitz


class FourierConv2d(OneLipschitz, nn.Module):
    """A circular convolution whose matrix at each frequency is made (semi-)orthogonal by `orthogonal`.

    The image is transformed by an FFT, multiplied, and transformed back. The result is an orthogonal convolution on
    images of that size; its kernel is as large as the image. A stride s is done as in the papers: each s by s block of
    pixels becomes s^2 channels, with kernels of the same size.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
    stride, dilation, groups : int
    bias : bool
    """

    def __init__(self, in_channels, out_channels, kernel_size, *, stride=1, dilation=1, groups=1, bias=True):
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.dilation, self.groups = stride, dilation, groups
        shape = (out_channels, in_channels * stride**2 // groups, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self):
        """Draw the parameters anew, as `torch.nn.Conv2d` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            limit = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -limit, limit)

    def kernel(self, dtype):
        """Return the kernel before it is made orthogonal, in a dtype."""
        return self.weight.to(dtype)

    def orthogonal(self, spectrum):
        """Make the matrices of a spectrum (..., out / groups, in / groups) orthogonal."""
        raise NotImplementedError

    def operator(self, size):
        """Return the orthogonal matrix at each frequency.

        Parameters
        ----------
        size : (int, int)
            Of the image behind the stride.
        Returns
        -------
        Tensor (height, width // 2 + 1, groups, out / groups, in / groups)
            Complex, of the precision of the parameters, but at least float32.
        """
        dtype = at_least_float32(self.weight.dtype)
        return self.orthogonal(kernel_spectrum(self.kernel(dtype), size, self.dilation, self.groups))

    def forward(self, x):
        with full_precision(x.device):
            x = blocks_of(x.to(at_least_float32(self.weight.dtype)), self.in_channels, self.stride)
            size = tuple(x.shape[-2:])
            y = apply_spectrum(remember(self, size, lambda: self.operator(size)), x).to(self.weight.dtype)
            return y if self.bias is None else y + self.bias[:, None, None]

    @torch.no_grad()
    def certified_bound(self, input_shape):
        """Compute the Lipschitz constant, in float64, of the operator that the forward pass uses.

        Parameters
        ----------
        input_shape : (int, int, int)
            Channels, height and width of the input.

        Returns
        -------
        float
        """
        size = [n // self.stride for n in input_shape[-2:]]
        return largest_singular_value(self.operator(size).flatten(0, 2))

    def extra_repr(self):
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}"
        )
