"""The base of the 1-Lipschitz residual layers: y = x - 2 W^T T^-1 relu(W x + b)."""

import math

import torch
from torch import nn
from torch.nn.functional import conv2d, linear, pad

from ...linalg.scaling import at_least_float32
from .precision import full_precision
from .remembered import remember
from .spectra import circular_norm, largest_singular_value, same_padding
from .statement import OneLipschitz


class _Residual(OneLipschitz, nn.Module):
    r"""y = x - 2 W^T T^-1 relu(W x + b) with T positive and diagonal.

    Its Jacobian is I - 2 V^T D V, V = T^(-1/2) W, with 0 <= D <= 1: its norm is at most max(1, 2 ||V||^2 - 1), which is
    1 if ||V|| <= 1. The subclasses choose T so that it is.
    """

    def __init__(self, shape, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.xavier_normal_(self.weight)
        self.bias = None
        if bias:
            limit = 1 / math.sqrt(self.weight[0].numel())
            self.bias = nn.Parameter(torch.empty(shape[0]).uniform_(-limit, limit))

    def image_size(self, x):
        """Return the height and width of an input; nothing for a dense layer."""
        raise NotImplementedError

    def inverse_scales(self, weight, size):
        """Return the diagonal of T^-1: a tensor (rows of W), or (1) if it is one number.

        Parameters
        ----------
        weight : Tensor
            W, in the dtype to compute in.
        size : tuple of int
            Height and width of the image; empty for a dense layer.
        """
        raise NotImplementedError

    def apply_weight(self, x, weight):
        """W x."""
        raise NotImplementedError

    def apply_transpose(self, z, weight):
        """W^T z."""
        raise NotImplementedError

    def forward(self, x):
        size = self.image_size(x)
        with full_precision(x.device):
            weight = self.weight.to(at_least_float32(self.weight.dtype))
            scales = remember(self, (size, self.training), lambda: self.inverse_scales(weight, size))
        per_channel = (-1, *(1 for _ in size))
        z = self.apply_weight(x, self.weight)
        if self.bias is not None:
            z = z + self.bias.view(per_channel)
        z = (2 * scales.view(per_channel) * z.relu()).to(z.dtype)  # scales may be beyond half precision
        return x - self.apply_transpose(z, self.weight)


class ResidualLinear(_Residual):
    """The dense form: W is a square matrix.

    Parameters
    ----------
    in_features, out_features : int
        Equal.
    bias : bool
    """

    def __init__(self, in_features, out_features, bias=True):
        super().__init__((out_features, in_features), bias)
        self.in_features, self.out_features = in_features, out_features

    def image_size(self, x):
        """Nothing."""
        return ()

    def apply_weight(self, x, weight):
        """W x."""
        return linear(x, weight)

    def apply_transpose(self, z, weight):
        """W^T z."""
        return linear(z, weight.T)

    @torch.no_grad()
    def certified_bound(self, input_shape=None):
        """Bound the Lipschitz constant from above, in float64: max(1, 2 ||V||^2 - 1), whatever the input's shape."""
        weight = self.weight.double()
        V = self.inverse_scales(weight, ()).sqrt()[:, None] * weight
        return max(1.0, 2 * largest_singular_value(V[None]) ** 2 - 1)

    def extra_repr(self):
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class ResidualConv2d(_Residual):
    """The convolutional form: W is a convolution that keeps the shape of the image.

    Parameters
    ----------
    in_channels, out_channels : int
        Equal.
    kernel_size, dilation, groups : int
    padding_mode : {"circular", "zeros"}
    bias : bool
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, *, dilation=1, groups=1, padding_mode="circular", bias=True
    ):
        super().__init__((out_channels, in_channels // groups, kernel_size, kernel_size), bias)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.dilation, self.groups, self.padding_mode = dilation, groups, padding_mode

    def image_size(self, x):
        """Return the height and width of an input."""
        return tuple(x.shape[-2:])

    def apply_weight(self, x, weight, padding_mode=None):
        """W x."""
        before, behind = same_padding(self.kernel_size, self.dilation)
        return self._convolve(x, weight, before, behind, padding_mode)

    def apply_transpose(self, z, weight, padding_mode=None):
        """W^T z: the convolution with the mirrored kernel, padded on the other sides."""
        before, behind = same_padding(self.kernel_size, self.dilation)
        mirrored = weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1).flip(-1, -2)
        return self._convolve(z, mirrored, behind, before, padding_mode)

    def _convolve(self, x, weight, before, behind, padding_mode):
        mode = "circular" if (padding_mode or self.padding_mode) == "circular" else "constant"
        x = pad(x, (before, behind, before, behind), mode=mode)
        return conv2d(x, weight, dilation=self.dilation, groups=self.groups)

    def torus(self, size):
        """Return the size of the circular convolution whose norm bounds that on an image of a size.

        Zero padding on an image is circular padding on one with zeros around it, of which a part is looked at.
        """
        margin = 0 if self.padding_mode == "circular" else self.dilation * (self.kernel_size - 1)
        return tuple(n + margin for n in size)

    def norm(self, weight, size):
        """Bound the norm of a convolution like W on images of a size from above; exact for circular padding."""
        return circular_norm(weight, self.torus(size), dilation=self.dilation, groups=self.groups)

    @torch.no_grad()
    def certified_bound(self, input_shape):
        """Bound the Lipschitz constant from above, in float64: max(1, 2 ||V||^2 - 1).

        Parameters
        ----------
        input_shape : (int, int, int)
            Channels, height and width of the input.
        """
        size = tuple(input_shape[-2:])
        weight = self.weight.double()
        V = self.inverse_scales(weight, size).sqrt()[:, None, None, None] * weight
        return max(1.0, 2 * self.norm(V, size) ** 2 - 1)

    def extra_repr(self):
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"groups={self.groups}, padding_mode={self.padding_mode!r}, bias={self.bias is not None}"
        )
