"""Skew orthogonal convolutions: the exponential of a skew-symmetric convolution, by its series."""

import math

import torch
from torch import nn
from torch.nn.functional import conv2d, pad

from ...linalg.scaling import at_least_float32
from ...models.pixels import blocks_of
from .bjorck import gelfand_norm
from .precision import full_precision
from .remembered import remember
from .spectra import norm_for_every_size

TRAINING_TERMS, EVALUATION_TERMS = 6, 12  # as in the paper


class SOCConv2d(nn.Module):
    r"""y = (sum_n A^n / n!) x + b, with a convolution A = -A^T, whose exponential is orthogonal.

    Where inputs and outputs differ in number, channels of zeros are added before, or left out behind. A stride s first
    turns each s by s block of pixels into s^2 channels. The kernel of A is (L - L^T) c / nu, nu >= ||L - L^T||_2 of the
    kernel as a matrix (out, in k^2), so that ||A|| <= c k, with the paper's c = 0.7 (1 if k = 1). It takes the smallest
    of four such matrices and power iterations; orthogonality does not depend on nu.

    The series is cut: after 6 terms in training, after 12 in evaluation.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        Odd.
    stride, dilation : int
    padding_mode : {"circular", "zeros"}
    bias : bool

    References
    ----------
    Singla & Feizi (2021), Skew orthogonal convolutions, arXiv:2105.11417.
    """

    joint = True

    def __init__(
        self, in_channels, out_channels, kernel_size, *, stride=1, dilation=1, padding_mode="circular", bias=True
    ):
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.stride, self.dilation, self.padding_mode = stride, dilation, padding_mode
        self.width = max(in_channels * stride**2, out_channels)
        self.weight = nn.Parameter(torch.empty(self.width, self.width, kernel_size, kernel_size))
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.width))
        self.bias = None
        if bias:
            limit = 1 / math.sqrt(out_channels)
            self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-limit, limit))

    def skew_kernel(self, dtype):
        """Return the kernel of A (width, width, k, k) in a dtype."""
        weight = self.weight.to(dtype)
        skew = weight - weight.transpose(0, 1).flip(-1, -2)
        correction = 0.7 if self.kernel_size > 1 else 1.0
        return correction * skew / gelfand_norm(skew.flatten(1)).squeeze()

    def forward(self, x):
        dtype = at_least_float32(self.weight.dtype)
        with full_precision(x.device):
            kernel = remember(self, "kernel", lambda: self.skew_kernel(dtype))
            term = blocks_of(x.to(dtype), self.in_channels, self.stride)
            term = pad(term, (0, 0, 0, 0, 0, self.width - term.shape[1]))
            y = term
            for n in range(1, 1 + (TRAINING_TERMS if self.training else EVALUATION_TERMS)):
                term = self._convolve(term, kernel) / n
                y = y + term
            y = y[:, : self.out_channels].to(self.weight.dtype)
            return y if self.bias is None else y + self.bias[:, None, None]

    def _convolve(self, x, kernel):
        margin = self.dilation * (self.kernel_size // 2)
        x = pad(x, (margin,) * 4, mode="circular" if self.padding_mode == "circular" else "constant")
        return conv2d(x, kernel, dilation=self.dilation)

    @property
    def lipschitz_bound(self):
        r"""1 + ||A||^(n + 1) / (n + 1)!, what n = 12 terms can be away from the exponential; in float64.

        ||A|| is that of `norm_for_every_size`, so that the bound holds for images of every size, in evaluation mode.
        """
        terms = EVALUATION_TERMS
        norm = norm_for_every_size(self.skew_kernel(torch.float64))
        return 1 + norm ** (terms + 1) / math.factorial(terms + 1)

    def certified_bound(self, input_shape=None):
        """Bound the Lipschitz constant from above: `lipschitz_bound`. The input's shape does not matter."""
        return self.lipschitz_bound

    def extra_repr(self):
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"dilation={self.dilation}, padding_mode={self.padding_mode!r}, bias={self.bias is not None}"
        )
