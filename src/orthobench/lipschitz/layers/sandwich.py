"""Sandwich layers: two factors of one orthogonal matrix with the activation between them."""

import math

import torch
from torch import nn
from torch.nn.functional import linear

from ...linalg.scaling import at_least_float32
from ...models.pixels import blocks_of
from .cayley import cayley_transform, with_norm
from .precision import full_precision, positive
from .remembered import remember
from .spectra import apply_spectrum, kernel_spectrum, largest_singular_value
from .statement import OneLipschitz

SQRT_2 = math.sqrt(2)


class _Sandwich(OneLipschitz, nn.Module):
    r"""The parameters of y = sqrt(2) A^H Psi relu(sqrt(2) Psi^-1 B x + b), [A, B] with orthonormal rows.

    A (out, out) and B (out, in) are the parts of Cayley's transform of a matrix (out + in, out), and Psi a positive
    diagonal matrix. With 0 <= D <= 1 the Jacobian 2 A^H D B has norm <= ||[A, B]||^2 = 1: for unit u, v,
    2 (A u)^H D (B v) <= |A u + B v|^2 / 2 <= ||[A, B]||^2.
    """

    def __init__(self, shape, in_features, out_features, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.log_psi = nn.Parameter(torch.zeros(out_features))
        nn.init.xavier_normal_(self.weight)
        self.scale = nn.Parameter(self.weight.detach().norm())
        self.bias = None
        if bias:
            limit = 1 / math.sqrt(in_features)
            self.bias = nn.Parameter(torch.empty(out_features).uniform_(-limit, limit))

    def kernel(self, dtype):
        """Return the weight with the norm that it is given, in a dtype."""
        return with_norm(self.weight.to(dtype), self.scale.to(dtype))

    def activate(self, z, psi):
        """relu between Psi^-1 and Psi; z is B x, psi of a shape that fits it."""
        z = SQRT_2 * z / psi
        if self.bias is not None:
            z = z + self.bias.view(psi.shape)
        return SQRT_2 * psi * z.relu()


class SandwichLinear(_Sandwich):
    """The dense sandwich layer, its own non-linearity (ReLU) included.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool

    References
    ----------
    Wang & Manchester (2023), Direct parameterization of Lipschitz-bounded deep networks, arXiv:2301.11526.
    """

    def __init__(self, in_features, out_features, bias=True):
        super().__init__((in_features + out_features, out_features), in_features, out_features, bias)
        self.in_features, self.out_features = in_features, out_features

    def factors(self, dtype):
        """Return [A^T; B^T] (out + in, out) in a dtype."""
        return cayley_transform(self.kernel(dtype))

    def forward(self, x):
        dtype = at_least_float32(self.weight.dtype)
        with full_precision(x.device):
            factors = remember(self, "factors", lambda: self.factors(dtype))
            A_T, B_T = factors.split([self.out_features, self.in_features])
            z = self.activate(linear(x.to(dtype), B_T.T), positive(self.log_psi.to(dtype)))
            return linear(z, A_T).to(self.weight.dtype)

    @torch.no_grad()
    def certified_bound(self, input_shape=None):
        """Bound the Lipschitz constant from above, in float64: ||[A, B]||^2, and no less than 1."""
        return max(1.0, largest_singular_value(self.factors(at_least_float32(self.weight.dtype))[None]) ** 2)

    def extra_repr(self):
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class SandwichConv2d(_Sandwich):
    """The circular convolution of a sandwich layer, its own non-linearity (ReLU) included.

    A and B are computed at each frequency. A stride s first turns each s by s block of pixels into s^2 channels.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
    stride : int
    bias : bool

    References
    ----------
    Wang & Manchester (2023), Direct parameterization of Lipschitz-bounded deep networks, arXiv:2301.11526.
    """

    def __init__(self, in_channels, out_channels, kernel_size, *, stride=1, bias=True):
        inputs = in_channels * stride**2
        shape = (inputs + out_channels, out_channels, kernel_size, kernel_size)
        super().__init__(shape, inputs * kernel_size**2, out_channels, bias)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = kernel_size, stride

    def factors(self, size, dtype):
        """Return [A^H; B^H] (height, width // 2 + 1, 1, out + in, out) in a dtype, for images of a size."""
        return cayley_transform(kernel_spectrum(self.kernel(dtype), size))

    def forward(self, x):
        dtype = at_least_float32(self.weight.dtype)
        with full_precision(x.device):
            x = blocks_of(x.to(dtype), self.in_channels, self.stride)
            size = tuple(x.shape[-2:])
            factors = remember(self, size, lambda: self.factors(size, dtype))
            A_H, B_H = factors.split([self.out_channels, x.shape[1]], dim=-2)
            z = self.activate(apply_spectrum(B_H.mH, x), positive(self.log_psi.to(dtype))[:, None, None])
            return apply_spectrum(A_H, z).to(self.weight.dtype)

    @torch.no_grad()
    def certified_bound(self, input_shape):
        """Bound the Lipschitz constant from above, in float64: ||[A, B]||^2 at the worst frequency, and no less than 1.

        Parameters
        ----------
        input_shape : (int, int, int)
            Channels, height and width of the input.
        """
        size = [n // self.stride for n in input_shape[-2:]]
        factors = self.factors(size, at_least_float32(self.weight.dtype))
        return max(1.0, largest_singular_value(factors.flatten(0, 2)) ** 2)

    def extra_repr(self):
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
