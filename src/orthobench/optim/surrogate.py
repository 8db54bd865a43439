"""A quadratic model of the loss in one layer, and the step that decreases it most.

A layer W with inputs A (n_in, n), one a column, and targets Y has the loss L(W) = ||W A - Y||_F^2 / (2 n). With its
gradient G and the second moment C = A A^T / n of its inputs, exactly::

    L(W - t D) = L(W) - t <G, D> + t^2 / 2 <D, D C>

For other layers this is a model of the loss. Everything is computed in float64, for one matrix or a batch (..., m, n),
on the device of the arguments; no gradient is recorded.
"""

from typing import NamedTuple

import torch

from ..linalg.scaling import at_least_float32


class Step(NamedTuple):
    """How long the best step along a direction is, and how much it decreases the surrogate; float64."""

    size: torch.Tensor
    decrease: torch.Tensor


class Combination(NamedTuple):
    """A combination of directions (..., m, n), its weights (..., k), and the decrease by a step of length 1."""

    direction: torch.Tensor
    weights: torch.Tensor
    decrease: torch.Tensor


def predicted_decrease(G, D, C):
    """Predict the best step along D: its length t = <G, D> / <D, D C>, and the decrease <G, D>^2 / (2 <D, D C>).

    Parameters
    ----------
    G, D : Tensor (..., m, n)
        Gradient and direction; the step is W - t D.
    C : Tensor (..., n, n)
        Second moment of the layer's inputs.

    Returns
    -------
    Step
        t, negative if <G, D> is, and the decrease, never negative. Both 0 if <G, D> = 0, as for a zero gradient or
        direction; both infinite if <D, D C> alone is 0 (up to rounding): the surrogate is linear along D.

    Raises
    ------
    ValueError
        If the shapes don't fit, or an entry isn't finite.
    """
    check_finite("G", G)
    check_finite("D", D, G.shape)
    check_finite("C", C, (G.shape[-1], G.shape[-1]))
    inner, curvatures = coefficients(G, [D], C)
    inner, curvature = inner[..., 0], curvatures[..., 0, 0]
    size = torch.where(inner != 0, inner / curvature, 0)
    return Step(size, torch.where(inner != 0, inner**2 / (2 * curvature), 0))


def two_direction_step(G, C, directions=None):
    """Combine directions so that one step decreases the surrogate most: with {G, polar(G)}, without an exponent.

    With b_i = <G, D_i> and K_ij = <D_i, D_j C> the best sum_i w_i D_i has K w = b, and decreases it by b^T K^-1 b / 2.

    Parameters
    ----------
    G : Tensor (..., m, n)
        Gradient.
    C : Tensor (..., n, n)
        Second moment of the layer's inputs.
    directions : sequence of Tensor (..., m, n), optional
        The gradient and its polar factor by default; or others, and as many as you like: momenta instead, or G C too.

    Returns
    -------
    Combination
        The direction sum_i w_i D_i, to be subtracted as it is, the w, and the decrease. Where directions are
        parallel (up to 1e-6) w is the least-squares solution of minimal norm, for directions of equal curvature;
        directions along which the surrogate is linear, as zero ones, get the weight 0.

    Raises
    ------
    ValueError
        If there is no direction, the shapes don't fit, or an entry isn't finite.
    """
    check_finite("G", G)
    check_finite("C", C, (G.shape[-1], G.shape[-1]))
    if directions is None:
        U, sigma, Vh = svd(G)
        directions = [G, (U * (sigma > 0).unsqueeze(-2)) @ Vh]
    if not len(directions):
        raise ValueError("directions must hold at least one direction; leave it out for the gradient and its polar.")
    for index, D in enumerate(directions):
        check_finite(f"directions[{index}]", D, G.shape)
    inner, curvatures = coefficients(G, directions, C)
    weights = best_weights(inner, curvatures)
    direction = sum(
        weight[..., None, None] * D.detach().double() for weight, D in zip(weights.unbind(-1), directions, strict=True)
    )
    return Combination(direction, weights, (weights * inner).sum(-1) / 2)


def coefficients(G, directions, C):
    """Return the <G, D_i>, (..., k), and the <D_i, D_j C>, (..., k, k), the diagonal 0 where it is rounding noise."""
    G, C = G.detach().double(), C.detach().double()
    stack = torch.stack([D.detach().double() for D in directions], -3)
    flat = stack.flatten(-2)
    inner = (flat @ G.flatten(-2).unsqueeze(-1)).squeeze(-1)
    curvatures = flat @ (stack @ C.unsqueeze(-3)).flatten(-2).mT
    diagonal = curvatures.diagonal(dim1=-2, dim2=-1)
    trace = C.diagonal(dim1=-2, dim2=-1).sum(-1).unsqueeze(-1)
    noise = C.shape[-1] * torch.finfo(C.dtype).eps * trace * flat.square().sum(-1)
    return inner, curvatures - torch.diag_embed(torch.where(diagonal > noise, 0, diagonal))


def best_weights(inner, curvatures):
    """Return the w with K w = b, for b and K of `coefficients`, as `two_direction_step` describes it."""
    diagonal = curvatures.diagonal(dim1=-2, dim2=-1)
    # Directions of unit curvature: a solution that doesn't depend on their lengths, and a threshold that has a meaning.
    scale = torch.where(diagonal > 0, diagonal.rsqrt(), 0)
    inverse = torch.linalg.pinv(curvatures * scale.unsqueeze(-1) * scale.unsqueeze(-2), rtol=1e-12, hermitian=True)
    return scale * (inverse @ (scale * inner).unsqueeze(-1)).squeeze(-1)


def svd(M):
    """Thin SVD in float64, singular values that are rounding noise of M's type set to 0.

    For float32 and narrower types the eigendecomposition of the Gram matrix in float64 loses nothing, and is cheaper.
    """
    X = M.detach().double()
    if M.dtype == torch.float64:
        U, sigma, Vh = torch.linalg.svd(X, full_matrices=False)
    else:
        is_tall = X.shape[-2] > X.shape[-1]
        W = X.mT if is_tall else X
        eigenvalues, Q = torch.linalg.eigh(W @ W.mT)
        sigma, Q = eigenvalues.clamp(min=0).sqrt().flip(-1), Q.flip(-1)
        other = (Q.mT @ W) / torch.where(sigma > 0, sigma, 1).unsqueeze(-1)
        U, Vh = (other.mT, Q.mT) if is_tall else (Q, other)
    tolerance = max(M.shape[-2:]) * torch.finfo(at_least_float32(M.dtype)).eps
    return U, torch.where(sigma > tolerance * sigma[..., :1], sigma, 0), Vh


def check_finite(name, X, shape=None):
    """Raise unless X is a tensor of 2 or more dimensions, the last of them ``shape``, with finite entries."""
    if not isinstance(X, torch.Tensor) or not X.is_floating_point():
        kind = X.dtype if isinstance(X, torch.Tensor) else type(X).__name__
        raise TypeError(f"{name} must be a real floating-point torch.Tensor, got {kind}; convert it with .to.")
    if X.ndim < 2 or 0 in X.shape or (shape is not None and X.shape[-len(shape) :] != tuple(shape)):
        wanted = "(..., m, n) without a 0" if shape is None else f"(..., {', '.join(map(str, shape))})"
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(X.shape)}.")
    if not X.isfinite().all():
        raise ValueError(f"{name} must be finite, got NaN or infinity among its entries; leave this step out.")
