"""Björck's iteration, which brings every singular value to 1 from below, and a norm that is safe to start it from."""

import torch
from torch import nn


def gelfand_norm(matrices, squarings=2):
    r"""Bound the largest singular value of each matrix from above, by products only.

    With G = W W^T (of the short side, n) and j squarings, sigma^2 <= ||G^(2^j)||_F^(2^-j) <= n^(2^-(j + 1)) sigma^2, by
    Gelfand's formula. Unlike an estimate by power iteration it is never too small, and it has no state.

    Parameters
    ----------
    matrices : Tensor (..., m, n)
        Real or complex.
    squarings : int
        j; 2 overestimates sigma by at most n^(1/16): 1.30 for n = 64.

    Returns
    -------
    Tensor (..., 1, 1)
        Differentiable; 1 for a zero matrix.
    """
    tiny = torch.finfo(matrices.dtype).tiny
    largest = matrices.detach().abs().amax(dim=(-2, -1), keepdim=True)
    scale = largest.clamp_min(tiny)  # no square under- or overflows
    matrices = matrices / scale
    tall = matrices.shape[-2] > matrices.shape[-1]
    gram = matrices.mH @ matrices if tall else matrices @ matrices.mH
    squared, power = 1.0, 1.0
    for i in range(squarings + 1):
        if i > 0:
            gram = gram @ gram
        norm = torch.linalg.matrix_norm(gram, keepdim=True).clamp_min(tiny)
        gram = gram / norm
        squared = squared * norm**power
        power /= 2
    return torch.where(largest == 0, 1, (scale * squared.clamp_min(tiny).sqrt()).clamp_min(tiny))


def bjorck_iteration(matrices, steps=12):
    r"""Bring the singular values of each matrix to 1: in each step, s <- s (3 - s^2) / 2.

    From [0, 1] it leads to [0, 1] after any number of steps, so that the result has norm <= 1 whether it has converged
    or not. From sqrt(3) on it diverges: divide by a bound of the norm first.

    Parameters
    ----------
    matrices : Tensor (..., m, n)
        Real or complex, with singular values in [0, 1].
    steps : int

    Returns
    -------
    Tensor (..., m, n)
        Differentiable.

    References
    ----------
    Björck & Bowie (1971), An iterative algorithm for computing the best estimate of an orthogonal matrix.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    for _ in range(steps):
        if tall:
            matrices = 1.5 * matrices - 0.5 * matrices @ (matrices.mH @ matrices)
        else:
            matrices = 1.5 * matrices - 0.5 * (matrices @ matrices.mH) @ matrices
    return matrices


class GelfandNormaliser(nn.Module):
    """Parametrisation that divides by `gelfand_norm`: afterwards no singular value is above 1."""

    def __init__(self, weight_shape=None):
        super().__init__()

    def forward(self, matrices):
        return matrices / gelfand_norm(matrices)
