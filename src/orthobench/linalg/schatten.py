"""Fractional powers of the singular values: the directions of steepest descent between the gradient and Muon's."""

import math
from numbers import Real

import torch

from .precision import full_float32
from .scaling import at_least_float32, divide_by_power_of_two
from .shapes import map_by_shape

EXPONENTS = (-0.5, 1)

# With s_0 = s and s_(k+1) = a s_k + b s_k^3 + c s_k^5, the iterate s_k saturates at about 1 from s = 3.4^-k on, so that
# a sum of iterates with decreasing weights bends as s^e does. The steps were chosen for the three exponents together,
# to minimise the largest relative error over 1e-5 <= s <= 1.01 (L-BFGS on a p-norm, p up to 100), then rounded; given
# the steps, the weights of s_0, ..., s_10 solve a linear programme.
STEPS = (
    (3.3801, -6.3855, 3.4535),
    (3.4110, -6.7231, 3.6513),
    (3.4160, -6.7423, 3.7952),
    (3.4198, -6.7034, 3.8659),
    (3.4205, -6.7254, 3.8493),
    (3.4146, -6.8197, 3.7491),
    (3.3925, -6.7602, 3.8370),
    (3.3983, -6.6647, 3.9197),
    (3.4563, -6.3862, 3.8229),
    (2.2002, -2.1541, 0.8995),
)
WEIGHTS = {
    1 / 8: (0.2537, 0.1751, 0.1232, 0.1156, 0.09194, 0.09602, 0.06709, 0.06062, 0.04112, 0.0149, 0.2319),
    1 / 4: (0.4549, 0.2454, 0.1479, 0.1168, 0.08265, 0.0733, 0.0428, 0.0337, 0.02005, 0.006616, 0.04992),
    1 / 2: (0.7357, 0.2173, 0.09986, 0.05586, 0.03028, 0.0187, 0.008334, 0.004715, 0.002195, 0.0009271, 0.001839),
}


def schatten_power(matrices, exponent, method="eigh"):
    """Compute U S^e V^T for each matrix X = U S V^T, for an exponent e from -1/2 to 1.

    With e = 1 it is X, with e = 0 the polar factor, in between the direction of steepest descent for the Schatten norm
    of order 1 + 1/e: up to its length, the D that maximises <X, D> among those of norm 1.

    Parameters
    ----------
    matrices : Tensor (..., m, n), or list or tuple of such tensors
        float32, bfloat16 (computed in float32, then rounded) or float64. Not modified.
    exponent : float
        e, from -1/2 to 1; with "products", 1/8, 1/4 or 1/2.
    method : {"eigh", "svd", "products"}
        - "eigh": eigendecomposition of the small Gram matrix. It squares the condition number, so it is done in float64
          for every dtype: float32 matrices lose nothing, and of float64 ones it sees the singular values above
          sqrt(max(m, n) eps) sigma_1 only. Slow on a GPU without float64 units.
        - "svd": singular value decomposition in float32 or float64.
        - "products": 30 matrix products, for any of its exponents, and no factorisation. See Notes.

    Returns
    -------
    Tensor (..., m, n), or list of Tensor in the same order
        New tensors, of the same shape, dtype and device. No gradient is recorded. The zero matrix gives zero, for
        negative exponents too. A matrix with a NaN or an infinite entry gives NaN, without an error; the other
        matrices of its batch are not touched by it.

    Raises
    ------
    TypeError
        If something isn't a tensor, or has another dtype, or the exponent isn't a number.
    ValueError
        If a tensor has fewer than 2 dimensions, the method is unknown, or the exponent is out of its range.

    Notes
    -----
    There is no epsilon: multiplying X by c multiplies the result by c^e. To the last bit if c is a power of two and
    c^e too, as X is first divided by a power of two.

    "eigh" and "svd" count singular values up to max(m, n) eps sigma_1 as zero (eps of the dtype computed in), as
    `polar_factor` does. "products" has no such threshold: see below.

    "products" sums the iterates of one odd polynomial iteration, the weights depending on the exponent alone::

        X_(k+1) = a_k X_k + (b_k A + c_k A^2) X_k,  A = X_k X_k^T;    U S^e V^T ~ w_0 X_0 + ... + w_10 X_10

    after division of X by ||(X X^T)^2||_F^(1/4) >= sigma_1, which is at most min(m, n)^(1/8) sigma_1. Each singular
    value from 1e-5 of that norm on comes out with a relative error below 1.8 %, whence at most as much in the Frobenius
    norm; smaller ones fade to zero in proportion to s. That is how rounding noise is damped: the results for singular
    values around the threshold of the other methods differ from theirs, by up to s^e. A step costs
    4 m^2 n + 2 m^3 operations (m <= n). The products are done in full float32, or float64; with TF32 or bfloat16
    products noise would be amplified with the small singular values, so such settings are suspended meanwhile.

    References
    ----------
    Higham (2008), Functions of matrices: theory and computation, chapter 8. "From SGD to Muon", arXiv:2605.19781: the
    family, with e = 1/p. Amsel et al. (2025), The Polar Express, arXiv:2505.16932: minimax compositions of odd
    polynomials, there for e = 0.
    """
    exponent = check_exponent(exponent)
    if method not in tuple(_METHODS):
        raise ValueError(f"method must be one of {', '.join(map(repr, _METHODS))}, got {method!r}; use 'eigh'.")
    if method == "products" and exponent not in WEIGHTS:
        raise ValueError(
            f"exponent must be 1/8, 1/4 or 1/2 with method='products', got {exponent}; use method='eigh' for another "
            "one, or newton_schulz for an approximate polar factor (exponent 0)."
        )
    return map_by_shape(lambda X: _scaled_power(X, exponent, _METHODS[method]), matrices)


def check_exponent(exponent):
    """Return an exponent of U S^e V^T as a float.

    Parameters
    ----------
    exponent : float
        From -1/2 to 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If it isn't a real number.
    ValueError
        If it is outside the range, or NaN.
    """
    low, high = EXPONENTS
    allowed = f"exponent must be a number from {low} to {high}"
    remedy = "1 keeps the singular values, 0 gives the polar factor."
    if not isinstance(exponent, Real) or isinstance(exponent, bool):
        raise TypeError(f"{allowed}, got {exponent!r} ({type(exponent).__name__}); {remedy}")
    exponent = float(exponent)
    if math.isnan(exponent) or not low <= exponent <= high:
        raise ValueError(f"{allowed}, got {exponent}; {remedy}")
    return exponent


def _scaled_power(X, exponent, power):
    """Apply `power` to X / 2^k, for which nothing over- or underflows, and multiply by 2^(k e)."""
    # LAPACK refuses a whole batch if one of its matrices has a NaN.
    finite = X.isfinite().all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
    if exponent == 1:
        return torch.where(finite, X, torch.nan)
    W = torch.where(finite, X, 0).to(at_least_float32(X.dtype))
    largest = torch.linalg.vector_norm(W, float("inf"), dim=(-2, -1), keepdim=True)
    k = torch.frexp(largest).exponent.double() - 1
    with full_float32():
        result = power(divide_by_power_of_two(W), exponent)
    return torch.where(finite, result * torch.exp2(k * exponent).to(W.dtype), torch.nan).to(X.dtype)


def _by_eigh(X, exponent):
    D = X.double()
    eigenvalues, Q = torch.linalg.eigh(D @ D.mT)
    sigma = eigenvalues.clamp(min=0).sqrt()
    size = max(X.shape[-2:])
    # An eigenvalue is off by up to about size * eps of the largest: nothing below its square root means anything.
    tolerance = max(size * torch.finfo(X.dtype).eps, math.sqrt(size * torch.finfo(D.dtype).eps))
    factor = torch.where(sigma > tolerance * sigma[..., -1:], sigma ** (exponent - 1), 0)
    return ((Q * factor.unsqueeze(-2)) @ (Q.mT @ D)).to(X.dtype)


def _by_svd(X, exponent):
    U, sigma, Vh = torch.linalg.svd(X, full_matrices=False)
    tolerance = max(X.shape[-2:]) * torch.finfo(X.dtype).eps
    powers = torch.where(sigma > tolerance * sigma[..., :1], sigma**exponent, 0)
    return U * powers.unsqueeze(-2) @ Vh


def _by_products(X, exponent):
    addmm = torch.addmm if X.ndim == 2 else torch.baddbmm
    norm = _norm_or_one(X)
    X = X / norm
    A = X @ X.mT
    A2 = A @ A
    # A bound on sigma_1 that is far sharper than the Frobenius norm if singular values are alike, and costs no product.
    bound = _norm_or_one(A2) ** 0.25
    X, A, A2 = X / bound, A / bound**2, A2 / bound**4
    first, *weights = WEIGHTS[exponent]
    total = first * X
    for step, ((a, b, c), weight) in enumerate(zip(STEPS, weights, strict=True)):
        # The bound gave the first Gram matrix.
        if step > 0:
            A = X @ X.mT
            A2 = A @ A
        X = addmm(X, b * A + c * A2, X, beta=a)
        total.add_(X, alpha=weight)
    return total * (norm * bound) ** exponent


def _norm_or_one(X):
    norm = torch.linalg.vector_norm(X, dim=(-2, -1), keepdim=True)
    return torch.where(norm == 0, 1, norm)


_METHODS = {"eigh": _by_eigh, "svd": _by_svd, "products": _by_products}
