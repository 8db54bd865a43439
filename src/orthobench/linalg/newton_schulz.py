"""Approximate orthogonalisation by products only: the Newton-Schulz iterations of the Muon family."""

import torch

from .recipes import get_recipe
from .scaling import aol_normalise, frobenius_normalise
from .shapes import map_by_shape


def newton_schulz(matrices, recipe="muon", steps=None):
    """Approximate the polar factor U V^T of each matrix X = U S V^T by an odd quintic iteration.

    With the short side first (X is transposed if m > n), X is normalised as the recipe says, then each step does::

        A = X X^T;  X <- a X + (b A + c A^2) X

    which maps each singular value s to a s + b s^3 + c s^5, and costs 4 m^2 n + 2 m^3 floating-point operations.

    Parameters
    ----------
    matrices : Tensor (..., m, n), or list or tuple of such tensors
        float32, bfloat16 or float64. The products are done in this dtype (float32 ones follow torch's TF32 setting);
        norms and row sums are accumulated in float32 or better. In a list, the matrices of equal (m, n), dtype and
        device are done as one batch. Not modified.
    recipe : str or Recipe
        A key of `RECIPES`: "muon", "airbench", "muon_plus" or "turbo_muon"; or a `Recipe` of your own.
    steps : int, optional
        Run the first `steps` polynomials only; all of them by default. A recipe that repeats one triple ("muon",
        "airbench") can be run for more steps than published.

    Returns
    -------
    Tensor (..., m, n), or list of Tensor in the same order
        New tensors, of the same shape, dtype and device. No gradient is recorded.

    Raises
    ------
    TypeError
        If something isn't a tensor, or has another dtype.
    ValueError
        If a tensor has fewer than 2 dimensions, the recipe is unknown, or `steps` is out of its range.

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
    """
    recipe = get_recipe(recipe)
    polynomials = recipe.polynomials(steps)
    return map_by_shape(lambda X: _iterate(X, recipe.preconditioner, polynomials), matrices)


def _iterate(X, preconditioner, polynomials):
    """Normalise and iterate on (m, n) or (batch, m, n), m <= n."""
    if preconditioner == "aol":
        X, A = aol_normalise(X)
    else:
        X = frobenius_normalise(X)
        A = X @ X.mT
    addmm = torch.addmm if X.ndim == 2 else torch.baddbmm
    for step, (a, b, c) in enumerate(polynomials):
        # The normalisation gave the first Gram matrix.
        if step > 0:
            A = X @ X.mT
        B = addmm(A, A, A, beta=b, alpha=c)
        X = addmm(X, B, X, beta=a)
    return X
