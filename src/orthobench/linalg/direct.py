"""Exact orthonormal factors, by the factorisations of torch.linalg."""

import torch

from .scaling import at_least_float32, divide_by_power_of_two
from .shapes import map_by_shape


def polar_factor(matrices):
    """Compute the polar factor U V^T of each matrix X = U S V^T, by an SVD.

    It is the nearest matrix with orthonormal rows (m <= n) or columns (m >= n). If X is rank-deficient, it is the
    partial isometry U_r V_r^T over the r singular values above max(m, n) eps sigma_1, with the eps of the dtype
    computed in; so the zero matrix gives zero.

    Parameters
    ----------
    matrices : Tensor (..., m, n), or list or tuple of such tensors
        float32, bfloat16 (computed in float32, then rounded) or float64. Not modified.

    Returns
    -------
    Tensor (..., m, n), or list of Tensor in the same order
        New tensors, of the same shape, dtype and device. No gradient is recorded. A matrix with a NaN or an infinite
        entry gives NaN, without an error; the other matrices of its batch are not touched by it.

    Raises
    ------
    TypeError
        If something isn't a tensor, or has another dtype.
    ValueError
        If a tensor has fewer than 2 dimensions.

    References
    ----------
    Higham (2008), Functions of matrices: theory and computation, chapter 8.
    """
    return map_by_shape(_polar, matrices)


def qr_factor(matrices):
    """Compute the orthonormal factor Q of the QR factorisation whose R has a non-negative diagonal.

    Q (m, n) has orthonormal columns if m >= n; the result for a wide matrix (m < n) is the transpose of the
    one for its transpose. Q is unique if X has full rank. It is not the polar factor, unless X has orthogonal columns.

    Parameters
    ----------
    matrices : Tensor (..., m, n), or list or tuple of such tensors
        float32, bfloat16 (computed in float32, then rounded) or float64. Not modified.

    Returns
    -------
    Tensor (..., m, n), or list of Tensor in the same order
        New tensors, of the same shape, dtype and device. No gradient is recorded. The columns (rows if m < n) are
        orthonormal even if X is rank-deficient or zero. A matrix with a NaN or an infinite entry gives NaN, without
        an error.

    Raises
    ------
    TypeError
        If something isn't a tensor, or has another dtype.
    ValueError
        If a tensor has fewer than 2 dimensions.

    References
    ----------
    Golub & Van Loan (2013), Matrix computations, theorem 5.2.3.
    """
    return map_by_shape(_qr, matrices)


def _polar(X):
    W, finite = _prepare(X)
    U, sigma, Vh = torch.linalg.svd(W, full_matrices=False)
    tolerance = max(X.shape[-2:]) * torch.finfo(W.dtype).eps
    kept = (sigma > tolerance * sigma[..., :1]).to(W.dtype)
    return torch.where(finite, U * kept.unsqueeze(-2) @ Vh, torch.nan).to(X.dtype)


def _qr(X):
    W, finite = _prepare(X)
    is_square = X.shape[-2] == X.shape[-1]
    Q, R = torch.linalg.qr(W if is_square else W.mT)
    Q = Q * torch.where(R.diagonal(dim1=-2, dim2=-1) < 0, -1, 1).unsqueeze(-2)
    return torch.where(finite, Q if is_square else Q.mT, torch.nan).to(X.dtype)


def _prepare(X):
    """Return X in the dtype to compute in, scaled, with non-finite matrices set to zero, and which are finite.

    LAPACK refuses a whole batch if one of its matrices has a NaN.
    """
    finite = X.isfinite().all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
    return divide_by_power_of_two(torch.where(finite, X, 0).to(at_least_float32(X.dtype))), finite
