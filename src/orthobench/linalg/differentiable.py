"""A differentiable orthonormal factor: products only, down to rounding, with the gradient of the limit.

The gradient is not taken through the steps. It solves the equation that the limit satisfies, which costs a few products
whatever the number of steps, and needs none of their intermediate results.
"""

import contextlib
import functools
import math
from typing import NamedTuple

import torch

from .polynomials import divide_argument, evaluate, minimax_quintic
from .precision import full_float32, without_autocast
from .recipes import RECIPES
from .scaling import at_least_float32, divide_by_power_of_two
from .symmetric import gram, quadratic

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# (I - E)^(-1/2) = I + E/2 + 3/8 E^2 + ...: up to this ||E||_F the truncated series converges fast.
NEAR = 0.5
# Smaller singular values, as fractions of the largest, are raised by Turbo-Muon's steps first.
FAR = 1 / 64

LANCZOS_STEPS = 16
# Up to this size all eigenvalues are computed as quickly as the extreme ones are estimated.
SMALL = 64

# Up to this condition number conjugate gradients take less time than an eigendecomposition, which takes that of some 8
# products on a CPU, and of far more on a GPU. They need one product for each factor of
# (sqrt(condition) + 1) / (sqrt(condition) - 1), or fewer.
LARGEST_CONDITION = {"cpu": 3}
LARGEST_CONDITION_ON_GPU = 1000
RESIDUAL = {torch.float32: 1e-5, torch.float64: 1e-13}


def orthonormal_factor(matrix):
    """Compute the polar factor U V^T of X = U S V^T, to rounding, as a differentiable map.

    With the short side first (X is transposed if m > n), X is divided by its root mean square singular value. Then
    each step measures its distance from orthonormal rows, by E = I - X X^T, and does the cheapest that helps:

    - ||E||_F up to 1/2: X <- X + (E/2 + 3/8 E^2) X, or X + E/2 X where that reaches rounding. Errors of the product
      count little here, because it is a small correction;
    - else, the odd quintic nearest to 1 on the interval of the singular values, as in Polar Express; the interval is
      estimated by Lanczos' method. Where the smallest is below 1/64 of the largest, Turbo-Muon's four steps come first,
      after a division by (max_i sum_j |(X X^T)_ij|)^(1/2), the bound of almost-orthogonal layers.

    Turbo-Muon divides each row by the bound of its own. All are divided by the largest here, so that the limit is the
    polar factor of X itself. That of rescaled rows would be a map with kinks: the derivative of a bound jumps where an
    entry of X X^T changes sign, as at every orthonormal X.

    The gradient is that of the polar factor. For m <= n, with H = X Q^T = (X X^T)^(1/2) and the gradient G for Q::

        Y Q + H^(-1) G (I - Q^T Q),   H Y + Y H = G Q^T - Q G^T

    by conjugate gradients where X is well conditioned, one product an iteration, else by an eigendecomposition of H.

    Parameters
    ----------
    matrix : Tensor (m, n)
        float32 or float64; float16 and bfloat16 are computed in float32, then rounded. Not modified.

    Returns
    -------
    Tensor (m, n)
        Q, of the same dtype and device, with orthonormal rows (m <= n) or columns (m >= n). Its largest singular value
        is at most 1 + 1e-6 in float32, for any X. Products are in full float32 whatever the settings or autocast.

    Raises
    ------
    TypeError
        If `matrix` isn't a tensor, or has another dtype.
    ValueError
        If it hasn't 2 dimensions, or is empty.
    RuntimeError
        On a second derivative, which isn't implemented.

    Notes
    -----
    Q does not depend on the scale of X, and the gradient is orthogonal to X.

    Accuracy, for a condition number kappa and the eps of the dtype: rows are orthonormal to a few eps; Q is off the
    polar factor by some kappa eps; and the gradient, in relative norm, by 2e-5 (float32) or 1e-11 (float64) for
    kappa up to 10, and by up to 100 kappa eps beyond. The gradient grows as kappa.

    If X is numerically rank-deficient, the polar factor is not unique and has no derivative. Then singular values below
    some 1e-8 (float32) of the largest end anywhere in [0, 1], those of a zero row at 0; the gradient is finite, and has
    no component between two such directions. The zero matrix gives zero, and a zero gradient: no training leaves it.
    A matrix with a NaN or an infinite entry gives NaN, without an error.

    References
    ----------
    Anil, Lucas & Grosse (2019), Sorting out Lipschitz function approximation, arXiv:1811.05381: the polar factor as a
    parametrisation, there by Bjorck's iteration. Boissin et al. (2025), Turbo-Muon, arXiv:2512.04632. Amsel et al.
    (2025), The Polar Express, arXiv:2505.16932. The equation of the gradient: Higham (2008), Functions of matrices,
    chapter 8, and its adjoint.
    """
    if not isinstance(matrix, torch.Tensor):
        raise TypeError(f"matrix must be a torch.Tensor, got {type(matrix).__name__}; convert it with torch.as_tensor.")
    if matrix.dtype not in DTYPES:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"matrix must have dtype {allowed}, got {matrix.dtype}; convert it with .to(torch.float32).")
    if matrix.ndim != 2 or not matrix.numel():
        raise ValueError(f"matrix must have shape (m, n) with m, n >= 1, got {tuple(matrix.shape)}; reshape it.")
    factor, _ = _Factor.apply(matrix)
    return factor


class _Factor(torch.autograd.Function):
    @staticmethod
    def forward(matrix):
        with _plain_products(matrix):
            factor, condition = _orthonormalise(_wide(matrix))
        return _like(matrix, factor), condition

    @staticmethod
    def setup_context(ctx, inputs, output):
        factor, ctx.condition = output
        ctx.save_for_backward(*inputs, factor)

    @staticmethod
    def backward(ctx, gradient, _):
        return _FactorGradient.apply(*ctx.saved_tensors, gradient, ctx.condition)

    @staticmethod
    def vmap(info, in_dims, matrices):
        results = [_Factor.apply(each) for each in matrices.unbind(in_dims[0])]
        factors, conditions = zip(*results, strict=True)
        return (torch.stack(factors), max(conditions)), (0, None)


class _FactorGradient(torch.autograd.Function):
    """A function of its own, so that it refuses a second derivative and takes batches in torch.func."""

    @staticmethod
    def forward(matrix, factor, gradient, condition):
        with _plain_products(matrix):
            return _like(matrix, _gradient(_wide(matrix), _wide(factor), _wide(gradient), condition))

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError(
            "orthonormal_factor has no second derivative; differentiate once only (create_graph=False), or take the "
            "polar factor from torch.linalg.svd."
        )

    @staticmethod
    def vmap(info, in_dims, *arguments):
        results = []
        for i in range(info.batch_size):
            own = [each if dim is None else each.select(dim, i) for each, dim in zip(arguments, in_dims, strict=True)]
            results.append(_FactorGradient.apply(*own))
        return torch.stack(results), 0


@contextlib.contextmanager
def _plain_products(matrix):
    """Compute in the dtype of the operands inside the block: no autocast, no TF32."""
    with without_autocast(matrix.device.type), full_float32():
        yield


def _wide(matrix):
    """Return it with the short side first, in float32 or better."""
    matrix = matrix.to(at_least_float32(matrix.dtype))
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def _like(matrix, result):
    """Undo `_wide`."""
    return (result if result.shape == matrix.shape else result.mT).to(matrix.dtype).contiguous()


class _Interval(NamedTuple):
    """Where the singular values are, by an estimate."""

    low: float
    high: float

    def explains(self, error, m):
        """Tell whether m singular values there can have a Gram matrix at that distance from I, ||E||_F."""
        return error <= 1.01 * math.sqrt(m) * max(self.high**2 - 1, 1 - self.low**2)


def _orthonormalise(X):
    """Compute the polar factor of X (m, n), m <= n.

    Returns
    -------
    Q : Tensor (m, n)
        New.
    condition : float
        The condition number of X, by an estimate; infinite where it isn't small.
    """
    if X.is_meta:  # what is measured along the way has no value
        return torch.empty_like(X), math.inf
    # Panels of rows, and copies, want contiguous rows.
    X = divide_by_power_of_two(X).contiguous()
    A = gram(X)
    mean = (A.trace() / len(A)).item()
    if mean == 0:
        return X, math.inf
    X, A = X.div_(math.sqrt(mean)), A.div_(mean)
    E, spare = torch.empty_like(A), torch.empty_like(X)
    eps = torch.finfo(X.dtype).eps
    # Well below the rounding errors of the products, which are some 2 sqrt(m) eps in ||E||_F.
    enough = eps * min(math.sqrt(len(A)) / 4, 8)
    interval = condition = None
    # As many as raise a singular value of eps, by a factor of at least 3 a round, and a few more to end.
    for _ in range(math.ceil(math.log(1 / eps, 3)) + 6):
        torch.neg(A, out=E).diagonal().add_(1)
        error = torch.linalg.vector_norm(E).item()
        if not math.isfinite(error):
            return X.fill_(torch.nan), math.inf
        if error <= NEAR:
            condition = condition or math.sqrt((1 + error) / (1 - error))
            # Sums of squares are more precise than the diagonal of a product.
            E.diagonal().copy_(1 - X.square().sum(dim=-1))
            if 0.76 * error**2 <= enough:  # X + E/2 X leaves 3/4 E^2 + 1/4 E^3
                return _add_product(X, E.div_(2), spare), condition
            Z = quadratic(E, 1 / 2, 3 / 8, out=A)
            X, spare = _add_product(X, Z, spare), X
            if 0.63 * _cube_bound(E, Z) <= enough:  # it left 5/8 E^3 + 15/64 E^4 + 9/64 E^5
                return X, condition
        else:
            if interval is None or not interval.explains(error, len(A)):
                low, high = (math.sqrt(max(1 - each, 0)) for each in reversed(extreme_eigenvalues(E)))
                interval = _Interval(max(low, FAR * high), high)
            if condition is None:
                condition = high / low if low > 0 else math.inf
                if low < FAR * high:
                    X, spare = _turbo_muon(X, A, E, spare)
                    interval = None
            if interval is not None:
                triple, interval = _nearest_quintic(interval)
                X, spare = _steps(X, A, [triple], E, spare)
        gram(X, out=A)
    return _settle(X, A, E, spare), math.inf


def _add_product(X, Z, out):
    """Compute X + Z X for a small Z, rounded once: addmm rounds partial sums of the size of X."""
    return torch.mm(Z, X, out=out).add_(X)


def _cube_bound(E, Z):
    """Bound ||E^3||_F by ||E^2||_F^(3/2), for Z = E/2 + 3/8 E^2, which is overwritten."""
    return (8 / 3 * torch.linalg.vector_norm(Z.sub_(E, alpha=0.5)).item()) ** 1.5


def _turbo_muon(X, A, Z, spare):
    """Do the steps of Turbo-Muon; A is the Gram matrix of X. Return X and the spare buffer."""
    bound = A.abs().sum(dim=-1).max().item()
    return _steps(X.div_(math.sqrt(bound)), A.div_(bound), RECIPES["turbo_muon"].polynomials(), Z, spare)


def _steps(X, A, triples, Z, spare):
    """Do X <- a X + (b A + c A^2) X for each triple; A is the Gram matrix of X. Return X and the spare buffer."""
    for k, (a, b, c) in enumerate(triples):
        if k > 0:
            gram(X, out=A)
        quadratic(A, b, c, out=Z)
        X, spare = torch.addmm(X, Z, X, beta=a, out=spare), X
    return X, spare


def _settle(X, A, E, spare):
    """Bring the singular values that can be brought to 1 there, and leave none above, where some stay near 0.

    X <- 3/2 X - 1/2 A X maps [0, 1] into itself. Here none is above 2, up to rounding, and few that matter below 1/8.
    """
    X, A = X.div_(2), A.div_(4)
    for _ in range(16):
        torch.neg(A, out=E).diagonal().add_(1)
        X, spare = torch.addmm(X, E, X, alpha=0.5, out=spare), X
        gram(X, out=A)
    return X


def _nearest_quintic(interval):
    """Return the odd quintic nearest to 1 on an interval, and the interval that it maps that to."""
    # On a grid of ratios, so that few are ever computed: the interval becomes wider by up to 9 %.
    eighths = math.ceil(8 * math.log2(interval.high / interval.low))
    triple, least = _quintic_on_grid(eighths)
    return divide_argument(triple, interval.high), _Interval(least, 2 - least)


@functools.lru_cache
def _quintic_on_grid(eighths):
    low = 2 ** (-eighths / 8)
    triple = minimax_quintic(low, 1)
    return triple, evaluate(triple, low)


def extreme_eigenvalues(A):
    """Estimate the smallest and the largest eigenvalue of a symmetric matrix by Lanczos' method.

    Parameters
    ----------
    A : Tensor (m, m)
        float32 or float64.

    Returns
    -------
    low, high : float
        The extreme Ritz values, moved outwards by estimates of their errors. Not bounds: an eigenvalue whose
        eigenvector is nearly orthogonal to the start can be missed. The same A always gives the same estimates.
    """
    m = len(A)
    if m <= SMALL:
        eigenvalues = torch.linalg.eigvalsh(A)
        return eigenvalues[0].item(), eigenvalues[-1].item()
    start = torch.randn(m, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(A)
    V = torch.empty(LANCZOS_STEPS, m, dtype=A.dtype, device=A.device)
    diagonal, beside = [], []
    w, length = start, torch.linalg.vector_norm(start)
    for k in range(LANCZOS_STEPS):
        torch.div(w, length, out=V[k])
        basis = V[: k + 1]
        w = torch.mv(A, V[k])
        diagonal.append(torch.dot(V[k], w))
        for _ in range(2):  # once leaves rounding errors
            w = torch.addmv(w, basis.mT, torch.mv(basis, w), alpha=-1)
        length = torch.linalg.vector_norm(w)
        beside.append(length)
    return _ritz_values(torch.stack(diagonal).tolist(), torch.stack(beside).tolist(), torch.finfo(A.dtype).eps)


def _ritz_values(diagonal, beside, eps):
    """Return the extreme eigenvalues of the tridiagonal matrix, moved outwards by their error bounds.

    With the residual r of its vector, and the gap to the next one, an eigenvalue is off by at most r, and by at most
    r^2 / gap if the next one is right.
    """
    # Past a length of rounding errors only, the directions mean nothing.
    noise = 100 * eps * (abs(diagonal[0]) + beside[0])
    size = next((k for k, length in enumerate(beside, 1) if not length > noise), len(beside))
    T = torch.zeros(size, size, dtype=torch.float64)
    T.diagonal().copy_(torch.tensor(diagonal[:size], dtype=T.dtype))
    T.diagonal(1).copy_(torch.tensor(beside[: size - 1], dtype=T.dtype))
    values, vectors = torch.linalg.eigh(T, UPLO="U")
    first, last = (beside[size - 1] * vectors[-1].abs())[[0, -1]].tolist()
    gaps = values.diff().clamp(min=math.ulp(1)).tolist() or [1.0]
    return values[0].item() - min(first, first**2 / gaps[0]), values[-1].item() + min(last, last**2 / gaps[-1])


def _gradient(X, Q, G, condition):
    """Compute the gradient for X (m, n), m <= n, from that for Q."""
    if X.is_meta:
        return torch.empty_like(X)
    # Their scales are taken out, so that squares neither under- nor overflow.
    scale, length = (torch.linalg.vector_norm(each, float("inf")) for each in (X, G))
    if scale == 0 or length == 0:
        return torch.zeros_like(X)
    if not torch.isfinite(scale + length):
        return torch.full_like(X, torch.nan)
    H = (X / scale) @ Q.mT
    H = H.add_(H.mT.contiguous())
    mean = H.trace() / len(H)
    H, G = H.div_(mean), G / length
    result = None
    if condition <= LARGEST_CONDITION.get(H.device.type, LARGEST_CONDITION_ON_GPU):
        result = _solve_by_conjugate_gradients(H, Q, G, condition)
    if result is None:
        result = _solve_by_eigenvectors(H, Q, G)
    return result * (2 * length / (mean * scale))


def _solve_by_conjugate_gradients(H, Q, G, condition):
    """Return Y Q + H^(-1) G (I - Q^T Q), where H Y + Y H = G Q^T - Q G^T; None if H is worse conditioned than said."""
    K = G @ Q.mT
    iterations = math.ceil(math.sqrt(condition) * math.log(2 / RESIDUAL[H.dtype])) + 2  # twice the bound
    Y = _skew_solution(H, K - K.mT.contiguous(), iterations)
    if Y is None or len(H) == Q.shape[1]:
        return Y if Y is None else Y @ Q
    factor, failed = torch.linalg.cholesky_ex(H)
    if failed:
        return None
    return torch.cholesky_solve(G.addmm(K, Q, alpha=-1), factor).addmm_(Y, Q)


def _skew_solution(H, C, iterations):
    """Solve H Y + Y H = C for skew-symmetric C and Y by conjugate gradients; None if that takes more iterations.

    For a skew-symmetric P, H P + P H = S - S^T with S = H P: one product an iteration.
    """
    target = RESIDUAL[C.dtype] * torch.linalg.vector_norm(C).item()
    Y, R, P = torch.zeros_like(C), C, C.clone()
    S, transposed = torch.empty_like(C), torch.empty_like(C)
    square = _dot(R, R)
    for _ in range(iterations):
        if math.sqrt(square) <= target:
            return Y
        torch.mm(H, P, out=S)
        alpha = square / (2 * _dot(P, S))
        Y.add_(P, alpha=alpha)
        transposed.copy_(S.mT)  # as one copy: reading across rows in arithmetic takes ten times as long
        R.add_(S, alpha=-alpha).add_(transposed, alpha=alpha)
        last, square = square, _dot(R, R)
        P.mul_(square / last).add_(R)
    return None


def _dot(first, second):
    return torch.dot(first.flatten(), second.flatten()).item()


def _solve_by_eigenvectors(H, Q, G):
    """Return the same as `_solve_by_conjugate_gradients`, with nothing where eigenvalues of H are 0 up to rounding."""
    eigenvalues, V = torch.linalg.eigh(H)
    tolerance = 16 * torch.finfo(H.dtype).eps * eigenvalues[-1]
    Q, G = V.mT @ Q, V.mT @ G
    K = G @ Q.mT
    sums = eigenvalues.unsqueeze(-1) + eigenvalues
    Y = torch.where(sums > tolerance, (K - K.mT) / sums, 0)
    if len(H) == Q.shape[1]:
        return V @ (Y @ Q)
    inverse = torch.where(eigenvalues > tolerance, 1 / eigenvalues, 0).unsqueeze(-1)
    return V @ (inverse * G).addmm_(Y - inverse * K, Q)
