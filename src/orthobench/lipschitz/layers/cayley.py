"""Cayley's transform of a matrix, and of a convolution at each frequency."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from .fourier import FourierConv2d
from .precision import in_full_precision
from .statement import stated

# Of A, the largest Frobenius norm up to which float32 keeps Q orthogonal to some 1e-6: its rounding errors grow with A.
LARGEST_IN_FLOAT32 = 16


def cayley_transform(matrices):
    r"""Turn any matrix into a semi-orthogonal one, smoothly.

    For a tall matrix with the square part U (n, n) above V::

        A = U - U^H + V^H V;    Q = [(I - A) (I + A)^-1; -2 V (I + A)^-1],    Q^H Q = I

    I + A is always invertible, with an inverse of norm <= 1. The result for a wide matrix is the transpose of that for
    its transpose. Where an A is so large that Q wouldn't be orthogonal in float32, it is computed in float64.

    Parameters
    ----------
    matrices : Tensor (..., m, n)
        Real or complex.

    Returns
    -------
    Tensor (..., m, n)
        Differentiable.

    References
    ----------
    Trockman & Kolter (2021), Orthogonalizing convolutional layers with the Cayley transform, arXiv:2104.07167.
    """
    m, n = matrices.shape[-2:]
    if m < n:
        return cayley_transform(matrices.mH).mH
    U, V = matrices[..., :n, :], matrices[..., n:, :]
    A = U - U.mH + V.mH @ V
    double = torch.promote_types(matrices.dtype, torch.float64)
    parts = torch.view_as_real(A.detach()) if A.is_complex() else A.detach()[..., None]  # a fast norm
    if A.dtype != double and torch.linalg.vector_norm(parts, dim=(-3, -2, -1)).amax() > LARGEST_IN_FLOAT32:
        return cayley_transform(matrices.to(double)).to(matrices.dtype)
    identity = torch.eye(n, dtype=matrices.dtype, device=matrices.device)
    inverse = torch.linalg.inv(identity + A)
    return torch.cat([2 * inverse - identity, -2 * V @ inverse], dim=-2)  # (I - A) (I + A)^-1 = 2 (I + A)^-1 - I


class CayleyConv2d(FourierConv2d):
    """A circular convolution that is Cayley's transform of its kernel, at each frequency.

    The kernel has a norm of its own, a parameter (weight normalisation), as in the paper.

    References
    ----------
    Trockman & Kolter (2021), Orthogonalizing convolutional layers with the Cayley transform, arXiv:2104.07167.
    """

    def reset_parameters(self):
        """Draw the parameters anew, as `torch.nn.Conv2d` does."""
        super().reset_parameters()
        self.scale = nn.Parameter(self.weight.detach().norm())

    def kernel(self, dtype):
        """Return the kernel with the norm that it is given, in a dtype."""
        return with_norm(self.weight.to(dtype), self.scale.to(dtype))

    def orthogonal(self, spectrum):
        """Make the matrices of a spectrum orthogonal."""
        return cayley_transform(spectrum)


def with_norm(weight, norm):
    """Return a weight with another Frobenius norm; zero stays zero, with finite gradients."""
    return weight * (norm / weight.norm().clamp_min(1e-18))


class CayleyWeight(nn.Module):
    """Parametrisation of a matrix as Cayley's transform of another, whose norm is a parameter."""

    def __init__(self, weight):
        super().__init__()
        self.scale = nn.Parameter(weight.detach().norm())

    def forward(self, weight):
        return cayley_transform(with_norm(weight, self.scale))


def cayley_linear(in_channels, out_channels, bias=True):
    """Make a `torch.nn.Linear` whose weight is Cayley's transform of a matrix."""
    layer = nn.Linear(in_channels, out_channels, bias=bias)
    parametrize.register_parametrization(layer, "weight", CayleyWeight(layer.weight))
    return stated(in_full_precision(layer))
