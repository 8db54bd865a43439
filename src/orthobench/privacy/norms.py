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
def cholesky_norm(matrix, start=None, tolerance=2e-3, workspace=None):
    r"""Bound the largest singular value sigma by the least s^2 tried for which s^2 I - W W^T has a Cholesky factor.

    If it has one, it is positive definite, and s > sigma: a certificate, whatever s was guessed from. The first guess
    is the estimate of some Lanczos steps, plus the tolerance; from one guess to the next the tolerance doubles.

    Parameters
    ----------
    matrix : Tensor (m, n)
        float32 or float64.
    start : Tensor (n,), optional
        Where Lanczos' steps start, overwritten by the singular vector that they end at; the first column of the Gram
        matrix by default.
    tolerance : float
        By what share the first s^2 is above the estimate.
    workspace : Workspace, optional

    Returns
    -------
    float
        (1 + tolerance / 2) sigma, if the estimate is near enough.
    """
    matrix = _in_range(matrix)
    product = _gram(matrix, workspace, "first")
    trace = float(product.diagonal().sum())
    if not 0 < trace < math.inf:
        return _underflow(matrix) if trace == 0 else math.nan
    estimate, vector = _lanczos(product, product[0] if start is None else start.to(product.dtype))
    if start is not None:
        start.copy_(vector)
    estimate = max(estimate, trace / len(product))  # the mean eigenvalue, should the vectors have missed the largest
    shifted = _buffer(workspace, "second", product)
    while True:
        square = estimate * (1 + tolerance)
        if not square < trace:
            return math.sqrt(trace) + _underflow(matrix)
        torch.neg(product, out=shifted).diagonal().add_(square)
        if _has_cholesky_factor(shifted):
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


def _lanczos(product, start, steps=10):
    """Estimate the largest eigenvalue of a symmetric matrix from below; return its vector, of length 1, too."""
    n = len(product)
    basis = product.new_zeros(min(steps, n), n)
    images = torch.zeros_like(basis)
    vector = start
    count = 0
    with full_float32():
        for index in range(len(basis)):
            before = torch.linalg.vector_norm(vector)
            for _ in range(2):  # the first time, rounding is left over
                vector = vector - basis[:index].mT @ (basis[:index] @ vector)
            length = torch.linalg.vector_norm(vector)
            if not length > 2 * torch.finfo(product.dtype).eps * before:
                break  # nothing but rounding: the vectors span an invariant space
            basis[index] = vector / length
            images[index] = vector = product @ basis[index]
            count = index + 1
        if count == 0:
            return 0.0, start
        values, vectors = torch.linalg.eigh((basis[:count] @ images[:count].mT).double().cpu())
    found = vectors[:, -1].to(product) @ basis[:count]
    return float(values[-1]), found / torch.linalg.vector_norm(found)


def _has_cholesky_factor(matrix, block=256):
    """Tell whether a symmetric matrix is positive definite: the blocks of its Cholesky factor exist. Overwrites it.

    By blocks, as torch clears the other triangle of a whole factor, which takes twice as long as computing it.
    """
    n = len(matrix)
    for start in range(0, n, block):
        stop = min(start + block, n)
        factor, failed = torch.linalg.cholesky_ex(matrix[start:stop, start:stop])
        if int(failed) != 0 or not factor.diagonal().isfinite().all():
            return False
        if stop < n:
            columns = matrix[start:stop, stop:].mT  # solved from the right nothing is copied
            rest = torch.linalg.solve_triangular(factor.mT, columns, upper=True, left=False)
            with full_float32():
                for row in range(stop, n, block):
                    end = min(row + block, n)
                    matrix[row:end, row:].addmm_(rest[row - stop : end - stop], rest[row - stop :].mT, alpha=-1)
    return True


def _underflow(matrix):
    """Bound what is lost of the norm where products of entries underflow."""
    return math.sqrt(matrix.numel() * torch.finfo(matrix.dtype).tiny)
