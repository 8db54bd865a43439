"""Scalings that bring the singular values of a matrix into [0, 1] before it is orthogonalised.

None of them adds an epsilon: what they return does not depend on the scale of the input.
"""

import torch

from ..device import can_look
from . import kernels
from .shapes import map_by_shape
from .symmetric import gram

# Sums of squares between these have lost nothing to under- or overflow.
MODERATE = 2.0**-80, 2.0**80


def at_least_float32(dtype):
    """The dtype in which norms and sums are accumulated, and factorisations computed."""
    return torch.promote_types(dtype, torch.float32)


def divide_by_power_of_two(X):
    """Return X / 2^k with the largest absolute entry of each matrix in [1, 2); exact, and a new tensor.

    It keeps squares from under- and overflowing. The power below the largest entry is taken, not the one above, which
    may be beyond the largest float; and it is a division, because the reciprocal of a subnormal overflows.
    """
    largest = _largest_entry(X).to(at_least_float32(X.dtype))
    power = largest / (2 * torch.frexp(largest).mantissa)
    return X / torch.where(largest > 0, power, 1).to(X.dtype)


def _largest_entry(X):
    """Return max |X_ij| of each matrix, (..., 1, 1); in bfloat16 vector_norm would take as long as a product."""
    if X.ndim == 2:
        low, high = torch.aminmax(X)
        return torch.maximum(-low, high).reshape(1, 1)
    return X.abs().amax(dim=(-2, -1), keepdim=True)


def frobenius_normalise(X, safety=0.0):
    """Return X / (||X||_F (1 + safety)) for each matrix, and zero for zero; a new tensor."""
    X, (norm, _) = _scaled(X, _norm_and_square)
    # Rounded to the type of X first: with two types torch makes temporaries in the larger one, ten times slower.
    return X / torch.where(norm == 0, 1, norm * (1 + safety)).to(X.dtype)


def aol_normalise(X, safety=0.0):
    """Return D X and its Gram matrix D X X^T D with one product, for D = (that of `aol_rescale`) / (1 + safety)."""
    if kernels.takes_kernels(X):
        return kernels.gram_of_scaled_rows(divide_by_power_of_two(X), 1 + safety)
    X, (A, row_sums) = _scaled(X, _gram_and_row_sums)
    scale = torch.where(row_sums == 0, 1, row_sums.rsqrt() / (1 + safety)).to(X.dtype)
    return X * scale, A.mul_(scale).mul_(scale.mT)


def _scaled(X, measure):
    """Return X with ``measure(X)``, whose last tensor has sums of squares, or of absolute products of rows.

    X is divided by a power of two before; on a CPU, which can look at the sums, only if they aren't moderate.
    """
    if can_look(X):
        found = measure(X)
        if bool(((found[-1] >= MODERATE[0]) & (found[-1] <= MODERATE[1])).all()):
            return X, found
    X = divide_by_power_of_two(X)
    return X, measure(X)


def _norm_and_square(X):
    norm = torch.linalg.vector_norm(X.flatten(-2), dim=-1, dtype=at_least_float32(X.dtype))[..., None, None]
    return norm, norm.square()


def _gram_and_row_sums(X):
    A = gram(X)
    return A, A.abs().sum(dim=-1, keepdim=True, dtype=at_least_float32(X.dtype))


def aol_rescale(matrices):
    """Scale the rows of each matrix so that its largest singular value is at most 1 (almost-orthogonal layers).

    With the short side first (X is transposed if m > n) and A = X X^T, row i is multiplied by
    D_i = (sum_j |A_ij|)^(-1/2), or by 1 if that sum is 0. The largest singular value of D X is at most 1 up to
    rounding, and D X does not depend on the scale of X.

    D is not a multiple of the identity, so the polar factor of D X is not that of X: its distance to it is the bias
    of the methods that start with this rescaling, and no number of steps removes it.

    Parameters
    ----------
    matrices : Tensor (..., m, n), or list or tuple of such tensors
        float32, bfloat16 or float64. Sums are accumulated in float32 or better. Not modified.

    Returns
    -------
    Tensor (..., m, n), or list of Tensor
        D X, transposed back. Rows are scaled if m <= n, columns otherwise: the result for X^T is the transpose of the
        result for X, except for square matrices, whose rows are scaled either way. A matrix with a non-finite entry
        gives non-finite entries.

    Raises
    ------
    TypeError
        If something isn't a tensor, or has another dtype.
    ValueError
        If a tensor has fewer than 2 dimensions.

    References
    ----------
    Prach & Lampert (2022), Almost-orthogonal layers for efficient general-purpose Lipschitz networks,
    arXiv:2208.03160, theorem 1. As a preconditioner of Newton-Schulz: Boissin et al. (2025), Turbo-Muon,
    arXiv:2512.04632.
    """
    return map_by_shape(lambda X: aol_normalise(X)[0], matrices)
