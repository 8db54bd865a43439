"""Bounds of the largest singular value of a matrix, from above, that are quick enough for each training step.

A power iteration alone is none: it comes from below, by 8 % after 3 steps on a Gaussian matrix. Here, n is the shorter
side of a matrix. Rounding is not in these bounds; the slack of `orthobench.privacy.sensitivity` covers it.
"""

import math

import torch
from scipy.special import gammaincinv

from ..linalg.precision import full_float32
from ..linalg.symmetric import gram, quadratic
from ..lipschitz.bounds.linear import matrix_norm

# Up to this shorter side a decomposition in float64 takes no longer than what avoids it.
SMALL = 64


def exact_norm(matrix):
    """Compute the largest singular value by a decomposition in float64, up to 1e-10 of it.

    Parameters
    ----------
    matrix : Tensor (m, n)

    Returns
    -------
    float
        NaN for a matrix with an entry that isn't finite.
    """
    if not matrix.isfinite().all():
        return math.nan
    return matrix_norm(matrix.detach().double())


@torch.no_grad()
def gelfand_norm(matrix, squarings=6, workspace=None):
    r"""Bound the largest singular value sigma by the Gram matrix and squarings of it.

    With G = W W^T (n, n) and j squarings, sigma^(2^(j + 1)) is the largest eigenvalue of G^(2^j), which is at most
    its Frobenius norm, and that is at most n^(1/2) times as large: the bound is at most n^(1 / 2^(j + 2)) sigma, which
    for n = 1024 and j = 6 is 1.027 sigma.

    Parameters
    ----------
    matrix : Tensor (m, n)
        float32 or float64.
    squarings : int
        j.
    workspace : Workspace, optional
        Where products go, to be used again.

    Returns
    -------
    float
    """
    matrix = _in_range(matrix)
    power = _gram(matrix, workspace, "first")
    other = _buffer(workspace, "second", power)
    logarithm, share = 0.0, 0.5
    for index in range(squarings + 1):
        norm = float(torch.linalg.matrix_norm(power))
        if not 0 < norm < math.inf:
            return _underflow(matrix) if norm == 0 else math.nan
        logarithm += share * math.log(norm)
        if index < squarings:
            with full_float32():
                quadratic(power, 0.0, 1 / norm**2, out=other)
            power, other = other, power
            share /= 2
            # The next norm is that of the square of power / norm.
    return math.exp(logarithm) + _underflow(matrix)


@torch.no_grad()
def cholesky_norm(matrix, start=None, tolerance=1e-3, workspace=None):
    r"""Bound the largest singular value sigma by the least s^2 tried for which s^2 I - W W^T has a Cholesky factor.

    If it has one, it is positive definite, and s > sigma: a certificate, whatever s was guessed from. The first guess
    is a few steps of a block power iteration, which start where the last ones ended, plus the tolerance; from one
    guess to the next the tolerance doubles.

    Parameters
    ----------
    matrix : Tensor (m, n)
        float32 or float64.
    start : Tensor (n, k), optional
        Starting vectors, overwritten by what the power iteration ends at; the first columns of the Gram matrix by
        default.
    tolerance : float
        By what share the first s^2 is above the estimate.
    workspace : Workspace, optional

    Returns
    -------
    float
        At most about (1 + tolerance) sigma, once the vectors have converged.
    """
    matrix = _in_range(matrix)
    product = _gram(matrix, workspace, "first")
    trace = float(product.diagonal().sum())
    if not 0 < trace < math.inf:
        return _underflow(matrix) if trace == 0 else math.nan
    estimate = _power_estimate(product, product[:, :8].clone() if start is None else start.to(product.dtype))
    estimate = max(estimate, trace / len(product))  # the mean eigenvalue, should no vector have met the largest
    shifted = _buffer(workspace, "second", product)
    failed = torch.empty((), dtype=torch.int32, device=product.device)
    while True:
        square = estimate * (1 + tolerance)
        if not square < trace:
            return math.sqrt(trace) + _underflow(matrix)
        torch.neg(product, out=shifted).diagonal().add_(square)
        torch.linalg.cholesky_ex(shifted, out=(shifted, failed))
        if int(failed) == 0:
            return math.sqrt(square) + _underflow(matrix)
        tolerance *= 2


@torch.no_grad()
def random_start_norm(matrix, failure_probability, generator=None, iterations=32, vectors=16):
    r"""Bound the largest singular value sigma by a power iteration from random vectors, but for a small probability.

    For k independent Gaussian vectors x, the sum of ||(W W^T)^p x||^2 is at least sigma^(4 p) times a chi-squared
    variable with k degrees of freedom: their components along the first singular vector. That is above its quantile q
    at the failure probability f but for a probability f, so that sigma <= (sum / q)^(1 / 4p). Vectors must be fresh,
    independent of the matrix.

    Parameters
    ----------
    matrix : Tensor (m, n)
        float32 or float64.
    failure_probability : float
        f, in (0, 1).
    generator : torch.Generator, optional
        Of the vectors; torch's own by default.
    iterations, vectors : int
        p and k. The bound is at most about (k n / q)^(1 / 4p) sigma: 1.09 for n = 1024, f = 1e-10 and the defaults.

    Returns
    -------
    float

    References
    ----------
    Dixon (1983), Estimating extremal eigenvalues and condition numbers of matrices, for one vector.
    """
    matrix = _in_range(matrix)
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
    x = torch.randn(len(short), vectors, generator=generator, dtype=matrix.dtype, device=matrix.device)
    logarithm = 0.0
    with full_float32():
        for _ in range(iterations):
            x = short @ (short.mT @ x)
            norm = float(torch.linalg.matrix_norm(x))
            if not 0 < norm < math.inf:
                return _underflow(matrix) if norm == 0 else math.nan
            logarithm += math.log(norm)
            x /= norm
    quantile = 2 * float(gammaincinv(vectors / 2, failure_probability))
    return math.exp((2 * logarithm - math.log(quantile)) / (4 * iterations)) + _underflow(matrix)


class Workspace:
    """Square matrices that are used again from call to call, until they are released.

    To be released after each step: what is held while a network runs would add to its peak of memory.
    """

    def __init__(self):
        self._buffers = {}

    def square(self, name, like, size):
        """Return an uninitialised matrix (size, size) of the type and device of a tensor."""
        key = (name, size, like.dtype, like.device)
        if key not in self._buffers:
            self._buffers[key] = like.new_empty(size, size)
        return self._buffers[key]

    def release(self):
        """Give the memory back."""
        self._buffers.clear()


def _in_range(matrix):
    """Return the matrix, in float64 where fourth powers of its norm would leave float32."""
    return matrix if 1e-9 < float(torch.linalg.matrix_norm(matrix)) < 1e9 else matrix.double()


def _gram(matrix, workspace, name):
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
    with full_float32():
        return gram(short, out=None if workspace is None else workspace.square(name, matrix, len(short)))


def _buffer(workspace, name, like):
    return torch.empty_like(like) if workspace is None else workspace.square(name, like, len(like))


def _power_estimate(product, vectors, iterations=3):
    """Estimate the largest eigenvalue from below, and leave the vectors, of length 1, where the iteration ended."""
    vectors /= torch.linalg.vector_norm(vectors, dim=0).clamp(min=torch.finfo(vectors.dtype).tiny)
    with full_float32():
        for _ in range(iterations):
            following = product @ vectors
            lengths = torch.linalg.vector_norm(following, dim=0)
            vectors.copy_(torch.where(lengths > 0, following / lengths, vectors))
    return float(lengths.max())


def _underflow(matrix):
    """Bound what is lost of the norm where products of entries underflow."""
    return math.sqrt(matrix.numel() * torch.finfo(matrix.dtype).tiny)
