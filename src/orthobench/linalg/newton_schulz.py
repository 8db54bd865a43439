"""Approximate orthogonalisation by products only: the Newton-Schulz iterations of the Muon family."""

import torch

from . import kernels
from .gram import METHODS, count_operations, is_worthwhile, segments
from .precision import product_dtype
from .recipes import get_recipe
from .scaling import aol_normalise, at_least_float32, frobenius_normalise
from .shapes import check_matrices, map_by_shape
from .symmetric import gram, quadratic, takes_panels

# Whether the kernel for a X + Z X is used where those for symmetric products are, instead of torch's addmm, which
# copies X before it adds to it. In favour: published times of Turbo-Muon with and without such a kernel (2.2 and 1.7
# times as fast as Muon, its README). `orthobench speed kernels` prints the ratio on the GPU at hand.
FUSES_ADDITION = True

# Of a chunk of the batch; three to four buffers of that size are in use at a time.
CHUNK_BYTES = 2**20


def newton_schulz(matrices, recipe="muon", steps=None, method="auto"):
    """Approximate the polar factor U V^T of each matrix X = U S V^T by an odd quintic iteration.

    With the short side first (X is transposed if m > n), X is normalised as the recipe says, then each step does::

        A = X X^T;  X <- a X + (b A + c A^2) X

    which maps each singular value s to a s + b s^3 + c s^5, and costs 4 m^2 n + 2 m^3 floating-point operations, or
    4 m^2 n if c = 0.

    Parameters
    ----------
    matrices : Tensor (..., m, n), or list or tuple of such tensors
        float32, bfloat16 or float64. The products are done in this dtype (float32 ones follow torch's TF32 setting;
        bfloat16 ones are done in float32, and the result is rounded, on a CPU that has no instructions for them);
        norms and row sums are accumulated in float32 or better. In a list, the matrices of equal (m, n), dtype and
        device are done as one batch. Not modified.
    recipe : str or Recipe
        A key of `RECIPES`, such as "muon", "polar_express" or "turbo_muon"; or a `Recipe` of your own. Those that are
        superseded are there to be measured: "turbo_muon_v1" turns the largest singular directions around.
    steps : int, optional
        Run so many polynomials only, all of them by default: the first ones, but the last ones of "turbo_muon_last", as
        in the code of Turbo-Muon's authors. A recipe that repeats one triple ("muon", "airbench", "classic") can be run
        for more steps than published.
    method : {"auto", "plain", "gram"}
        - "plain": the products above.
        - "gram": the same polynomials, iterated on the Gram matrix X X^T where several steps can share one; fewer
          operations if n is well above m, more if not. The same result to rounding, which is up to some 30 times
          that of "plain". For bfloat16 matrices it computes in float32, then rounds: in bfloat16 the Gram matrix
          loses small singular values.
        - "auto": "gram" where it needs clearly fewer operations and products have at least the precision of float32
          (not where they are done in bfloat16, nor in float32 with TF32), else "plain".

    Returns
    -------
    Tensor (..., m, n), or list of Tensor in the same order
        New tensors, of the same shape, dtype and device. No gradient is recorded.

    Raises
    ------
    TypeError
        If something isn't a tensor, or has another dtype.
    ValueError
        If a tensor has fewer than 2 dimensions, the recipe or the method is unknown, or `steps` is out of its range.

    Notes
    -----
    There is no epsilon: each matrix is first divided by a power of two, so the result does not depend on the scale of
    the input, from subnormal numbers to the largest ones. The zero matrix gives zero. A matrix with a NaN or an
    infinite entry gives non-finite entries, without an error; the other matrices of its batch are not touched by it.

    The result for X^T is the transpose of the result for X, to rounding, except for square matrices under a recipe
    with the "aol" preconditioner, which scales the rows. That preconditioner also changes the matrix to which the
    iteration converges: the polar factor of ``aol_rescale(X)``, not that of X.

    References
    ----------
    Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks; and the `source` of each recipe.
    The Gram form and its restarts: Zhang, Amsel, Chen & Dao (2026), Gram Newton-Schulz: a fast, hardware-aware
    Newton-Schulz algorithm for Muon, https://tridao.me/blog/2026/gram-newton-schulz/.
    """
    recipe = get_recipe(recipe)
    polynomials = recipe.polynomials(steps)
    _check_method(method)
    return map_by_shape(lambda X: _in_chunks(X, recipe, polynomials, method), matrices)


def newton_schulz_flops(matrices, recipe="muon", steps=None, method="auto"):
    """Count the floating-point operations of the products that `newton_schulz` does with the same arguments.

    Parameters
    ----------
    matrices, recipe, steps, method
        As for `newton_schulz`. Only shapes, dtypes and devices count: tensors of the "meta" device will do.

    Returns
    -------
    int
        2 p q r for a product of (p, q) and (q, r).

    Raises
    ------
    TypeError, ValueError
        As `newton_schulz` does.
    """
    recipe = get_recipe(recipe)
    polynomials = recipe.polynomials(steps)
    _check_method(method)
    total = 0
    for X in matrices if isinstance(matrices, (list, tuple)) else [matrices]:
        check_matrices(X)
        m, n = sorted(X.shape[-2:])
        if X.numel():
            count = X.numel() // (m * n)
            total += count * count_operations(m, n, _divide(m, n, X, recipe, polynomials, method))
    return total


def _check_method(method):
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")


def _divide(m, n, X, recipe, polynomials, method):
    """Return the polynomials, divided into segments of one step (plain) or more (Gram form)."""
    plain = [[triple] for triple in polynomials]
    if method == "plain":
        return plain
    divided = segments(polynomials, 1 / (1 + recipe.safety))
    return divided if method == "gram" or is_worthwhile(m, n, divided, _product_dtype(X, method), X.device) else plain


def _product_dtype(X, method):
    """Return the type in which X is iterated."""
    return at_least_float32(X.dtype) if method == "gram" else product_dtype(X.dtype, X.device.type)


def _in_chunks(X, recipe, polynomials, method):
    """Orthogonalise (m, n) or (batch, m, n), m <= n: a batch in chunks that stay in a CPU's cache."""
    chunk = max(1, CHUNK_BYTES // (_product_dtype(X, method).itemsize * X.shape[-2:].numel()))
    if X.ndim == 2 or len(X) <= chunk or X.device.type != "cpu":
        return _orthogonalise(X, recipe, polynomials, method)
    result = torch.empty_like(X)
    for part, into in zip(X.split(chunk), result.split(chunk), strict=True):
        into.copy_(_orthogonalise(part, recipe, polynomials, method))
    return result


def _orthogonalise(X, recipe, polynomials, method):
    """Normalise and iterate on (m, n) or (batch, m, n), m <= n."""
    divided = _divide(*X.shape[-2:], X, recipe, polynomials, method)
    dtype = X.dtype
    X = X.to(_product_dtype(X, method))
    # A tall matrix, here transposed, stays as it is in memory: copies across its strides would cost as much as a step.
    # But panels of its rows would be strided.
    is_transposed = X.stride(-2) == 1 and not takes_panels(X)
    X = X.mT.contiguous().mT if is_transposed else X.contiguous()
    if recipe.preconditioner == "aol":
        X, R = aol_normalise(X, recipe.safety)
    else:
        X = frobenius_normalise(X, recipe.safety)
        R = gram(X)
    # Two buffers of each shape serve all steps: fresh memory costs page faults, as much as a tenth of a step.
    Y, Z = torch.empty_like(X), torch.empty_like(R)
    for i, segment in enumerate(divided):
        if i > 0:  # the normalisation gave the first Gram matrix
            gram(X, out=R)
        X, Y = _iterate(X, R, segment, Y, Z), X
    return X.to(dtype)


def _iterate(X, R, polynomials, Y, Z):
    """Do the steps of one segment on X, whose Gram matrix is R; return the result in Y. Z and R are overwritten.

    In the k-th step P_k = a_k I + Z_k, Z_k = b_k R + c_k R^2, R becomes P_k R P_k; X is multiplied by P = P_1 P_2 ...
    in the end. P is kept as p I + W, so that the only product with X of a single step is that of the plain iteration.
    """
    addmm = torch.addmm if X.ndim == 2 else torch.baddbmm
    p, W = 1.0, None
    for k, (a, b, c) in enumerate(polynomials):
        Z = quadratic(R, b, c, out=Z if W is None else None)
        W = Z if W is None else addmm(torch.add(a * W, Z, alpha=p), W, Z)
        p *= a
        if k < len(polynomials) - 1:
            S = addmm(R, R, Z, beta=a)
            R = addmm(S, Z, S, beta=a)
    if FUSES_ADDITION and kernels.takes_kernels(X):
        return kernels.add_product(X, W, p, out=Y)
    if X.is_contiguous():
        return addmm(X, W, X, beta=p, out=Y)
    return addmm(X.mT, X.mT, W, beta=p, out=Y.mT).mT  # W is symmetric
