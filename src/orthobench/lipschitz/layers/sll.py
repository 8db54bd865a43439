"""SDP-based Lipschitz layers: residual layers whose T makes W^T T^-1 W <= I by diagonal dominance."""

import torch
from torch import nn
from torch.nn.functional import conv2d

from .precision import positive
from .residual import ResidualConv2d, ResidualLinear


class SLLLinear(ResidualLinear):
    r"""y = x - 2 W^T T^-1 relu(W x + b) with T_ii = sum_j |W W^T|_ij q_j / q_i.

    q > 0 is a parameter. T - W W^T is diagonally dominant in the scaling q, and so positive semidefinite.

    References
    ----------
    Araujo, Havens, Delattre, Allauzen & Hu (2023), A unified algebraic perspective on Lipschitz neural networks,
    arXiv:2303.03169.
    """

    def __init__(self, in_features, out_features, bias=True):
        super().__init__(in_features, out_features, bias)
        self.log_q = nn.Parameter(torch.zeros(out_features))

    def inverse_scales(self, weight, size):
        """Return the diagonal of T^-1."""
        q = positive(self.log_q.to(weight.dtype))
        return _safe_inverse((weight @ weight.T).abs() @ q / q)


class SLLConv2d(ResidualConv2d):
    r"""The same for a convolution W: T_i = sum_j sum_t |(W W^T)_ij[t]| q_j / q_i, over all offsets t of pixels.

    Wrapping the kernel around a small image only lowers that sum, as does zero padding: T does not depend on the size.

    References
    ----------
    Araujo, Havens, Delattre, Allauzen & Hu (2023), A unified algebraic perspective on Lipschitz neural networks,
    arXiv:2303.03169.
    """

    def __init__(self, in_channels, out_channels, kernel_size, **options):
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.log_q = nn.Parameter(torch.zeros(out_channels))

    def inverse_scales(self, weight, size):
        """Return the diagonal of T^-1."""
        q = positive(self.log_q.to(weight.dtype))
        # The kernels of one place in every group are one image, which is correlated with all kernels.
        images = weight.unflatten(0, (self.groups, -1)).transpose(0, 1).flatten(1, 2)
        products = conv2d(images, weight, padding=self.kernel_size - 1, groups=self.groups)
        sums = products.abs().sum(dim=(-2, -1)).unflatten(1, (self.groups, -1))  # (j, group, i)
        scaled = torch.einsum("jgi,gj->gi", sums, q.unflatten(0, (self.groups, -1)))
        return _safe_inverse(scaled.flatten() / q)


def _safe_inverse(scales):
    """1 / scales; of a row of zeros, which has nothing to scale, a finite number."""
    return 1 / scales.clamp_min(torch.finfo(scales.dtype).tiny)
