"""One-class models of bounded Lipschitz constant: the signed distance to the edge of what was trained on (OCSDF).

Bethune, Novello, Coiffier, Boissin, Serrurier, Vincenot, Troya-Galvis, "Robust One-Class Classification with Signed
Distance Function using 1-Lipschitz Neural Networks" (ICML 2023, arXiv 2303.01978). There are inliers P alone. A network
f is trained with a hinge-regularised Kantorovich-Rubinstein loss to be positive on P and negative on a distribution Q_t
of its own making: points drawn uniformly from a box and moved towards the boundary f = 0 by Newton-Raphson steps. As f
learns, Q_t closes in on P; in the limit a 1-Lipschitz f is the signed distance to the boundary of the support of P, and
|f(x)| a radius within which its sign is certified.

Nothing here trains: `one_class_loss` returns what to call `backward` on.
"""

import contextlib
import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..linalg.scaling import at_least_float32
from ..models.checks import check_integer
from .losses import check_number


class OneClassLoss(nn.Module):
    """hKR loss of one class: the mean over P of h(f) plus the mean over Q of h(-f), h(s) = relu(m - s) - s / lambda.

    Each example adds a term of its own: the loss is separable.

    Parameters
    ----------
    margin : float
        m, at least 0, in units of the score, that is of distance if f is 1-Lipschitz: inliers are to score above it,
        others below -m. It should be small, though larger than what a step of training moves the boundary by.
    hinge_weight : float
        lambda, positive: how much the hinge counts more than KR.
    """

    separable = True

    def __init__(self, margin=0.05, hinge_weight=100.0):
        super().__init__()
        self.margin = check_number("margin", margin, 0)
        self.hinge_weight = check_number("hinge_weight", hinge_weight, 0, strict=True)

    def forward(self, inlier_scores, outlier_scores):
        """Return the loss.

        Parameters
        ----------
        inlier_scores : Tensor (N,) or (N, 1)
            f on samples of P.
        outlier_scores : Tensor (M,) or (M, 1)
            f on samples of Q.

        Returns
        -------
        Tensor ()
            In float32, or the type of the scores if that is wider.

        Raises
        ------
        TypeError, ValueError
            If they aren't such tensors, or one is empty.
        """
        inliers, outliers = _check_scores("inlier", inlier_scores), _check_scores("outlier", outlier_scores)
        return self._terms(inliers).mean() + self._terms(-outliers).mean()

    def lipschitz_constant(self):
        """Return the Lipschitz constant of the term of one example with respect to its score: 1 + 1/lambda."""
        return 1 + 1 / self.hinge_weight

    def _terms(self, signed):
        return (self.margin - signed).relu() - signed / self.hinge_weight


class OneClassStep(NamedTuple):
    """What `one_class_loss` returns: the loss to be differentiated, the samples of Q_t, and the scores of both."""

    loss: torch.Tensor
    samples: torch.Tensor
    inlier_scores: torch.Tensor
    outlier_scores: torch.Tensor


def newton_raphson(score, points, box, *, steps, rates=1.0, level=0.0, both_sides=False):
    """Move points towards the set where a score has a level: x <- clip(x + rate (level - f) grad f / ||grad f||^2).

    Parameters
    ----------
    score : callable
        From points (N, ...) to (N,) or (N, 1), differentiable, each score of its own point alone. A module is put into
        evaluation mode meanwhile, so that no statistic of a batch links its points or is changed by them.
    points : Tensor (N, ...)
        Where they start. They aren't modified.
    box : (low, high)
        What they are kept in: two floats, or tensors that broadcast to one point. Points outside are clipped first.
    steps : int
        At least 0.
    rates : float or Tensor (N,)
        What each step is multiplied by; 1 is Newton-Raphson's own, that reaches the level at once where f is a
        distance and the straight way is in the box.
    level : float
        Of the score.
    both_sides : bool
        Whether points with a score above the level are moved too; they stay if not, inside what counts as inlying.

    Returns
    -------
    Tensor (N, ...)
        New and detached. A point whose gradient is 0 stays. No parameter gets a gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of those.
    """
    steps = check_integer("steps", steps, 0)
    points = _check_points(points)
    low, high = _check_box(box, points)
    rates = torch.as_tensor(rates, dtype=points.dtype, device=points.device)
    if rates.shape not in ((), points.shape[:1]):
        raise ValueError(f"rates of shape {tuple(rates.shape)} for {len(points)} points: give one, or one a point")
    rates = rates.expand(len(points))
    points = points.detach().clamp(low, high)
    with _evaluating(score), torch.enable_grad():
        for _ in range(steps):
            values, slopes = _values_and_gradients(score, points)
            gaps = level - values if both_sides else (level - values).clamp(min=0)
            squares = slopes.flatten(1).square().sum(1)
            factors = torch.where(squares > 0, rates * gaps / squares, 0).nan_to_num(nan=math.nan)  # finite, if large
            points = (points + factors.view(-1, *[1] * (points.ndim - 1)) * slopes).clamp(low, high)
    return points


def sample_complement(
    score, count, shape, box, *, steps=16, eta=1.0, spread=True, level=0.0, generator=None, dtype=None, device=None
):
    """Draw from Q_t: points uniform in a box, moved towards where the score is 0 ("adapted Newton-Raphson").

    Each of the steps is one of `newton_raphson` times eta u / steps, with one u for each point, uniform in [0, 1].
    Where the score is a distance, a point so goes 1 - (1 - eta u / steps)^steps of its way, anything from none of it to
    about 1 - exp(-eta), and Q_t covers the complement, more densely the nearer to the boundary.

    Parameters
    ----------
    score, box, steps, level
        As those of `newton_raphson`.
    count : int
        How many, at least 1.
    shape : sequence of int
        Of one point.
    eta : float
        Positive. The authors take 1, and 10 of 16 steps on MNIST.
    spread : bool
        Whether the u are random; all 1 if not.
    generator : torch.Generator, optional
        For the starts and the u; torch's global one by default.
    dtype, device : optional
        Of the points; torch's defaults, and that of the generator.

    Returns
    -------
    Tensor (count, *shape)
        Detached.

    Raises
    ------
    TypeError, ValueError
        As `newton_raphson`; or if ``eta`` or ``count`` is out of its range.
    """
    count = check_integer("count", count, 1)
    steps = check_integer("steps", steps, 0)
    eta = check_number("eta", eta, 0, strict=True)
    drawn_on = device if generator is None else generator.device

    def uniform(*sizes):
        drawn = torch.rand(*sizes, generator=generator, dtype=dtype, device=drawn_on)
        return drawn if device is None else drawn.to(device)

    starts = _check_points(uniform(count, *shape))
    low, high = _check_box(box, starts)
    rates = eta / max(1, steps) * (uniform(count) if spread else torch.ones_like(starts.flatten(1)[:, 0]))
    return newton_raphson(score, low + (high - low) * starts, box, steps=steps, rates=rates, level=level)


def one_class_loss(score, inliers, box, *, loss=None, count=None, generator=None, **sampling):
    """Draw a Q_t for a batch of inliers, and compute the loss of a step of training.

    Parameters
    ----------
    score : callable
        The model: from (N, ...) to (N,) or (N, 1). It is evaluated once on inliers and samples together, in its own
        mode, so that a statistic of the batch (centering) doesn't take away what tells them apart.
    inliers : Tensor (N, ...)
        Samples of P.
    box : (low, high)
        Where Q_t may be: for images, what pixels may be, such as (0.0, 1.0).
    loss : OneClassLoss, optional
        One of the default options if None.
    count : int, optional
        Samples of Q_t; as many as inliers if None.
    generator : torch.Generator, optional
    **sampling
        ``steps``, ``eta``, ``spread`` and ``level`` of `sample_complement`.

    Returns
    -------
    OneClassStep
        The loss with its graph, the samples detached, and the scores (N,) and (M,) with their graphs.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of those allowed.
    """
    inliers = _check_points(inliers)
    samples = sample_complement(
        score,
        len(inliers) if count is None else count,
        inliers.shape[1:],
        box,
        generator=generator,
        dtype=inliers.dtype,
        device=inliers.device,
        **sampling,
    )
    scores = _check_scores("the model's", score(torch.cat([inliers, samples])), len(inliers) + len(samples))
    on_inliers, on_samples = scores[: len(inliers)], scores[len(inliers) :]
    value = (OneClassLoss() if loss is None else loss)(on_inliers, on_samples)
    return OneClassStep(value, samples, on_inliers, on_samples)


def _values_and_gradients(score, points):
    points = points.detach().requires_grad_()
    values = _check_scores("the score's", score(points), len(points))
    if not values.requires_grad:
        raise ValueError("the score doesn't depend on the points by operations that torch differentiates: it must")
    (gradients,) = torch.autograd.grad(values.sum(), points)
    return values.detach().to(points.dtype), gradients


@contextlib.contextmanager
def _evaluating(score):
    """Put a module into evaluation mode, with its parametrised weights computed once; then each part into its own."""
    if not isinstance(score, nn.Module):
        yield
        return
    modes = {module: module.training for module in score.modules()}
    score.eval()
    try:
        with parametrize.cached():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _check_points(points):
    if not isinstance(points, torch.Tensor) or not points.is_floating_point():
        kind = points.dtype if isinstance(points, torch.Tensor) else type(points).__name__
        raise TypeError(f"the points are {kind}: give a floating-point tensor")
    if points.ndim < 2 or not points.numel():
        raise ValueError(f"the points are of shape {tuple(points.shape)}: give (N, ...), at least one of them")
    return points


def _check_box(box, points):
    """Return both corners as tensors that broadcast to one point."""
    low, high = (torch.as_tensor(corner, dtype=points.dtype, device=points.device) for corner in box)
    try:
        is_box = torch.broadcast_shapes(low.shape, high.shape, points.shape[1:]) == points.shape[1:]
    except RuntimeError:
        is_box = False
    if not is_box:
        raise ValueError(
            f"box has corners of shapes {tuple(low.shape)} and {tuple(high.shape)}: "
            f"give two floats, or tensors that broadcast to {tuple(points.shape[1:])}"
        )
    if not ((low < high).all() and low.isfinite().all() and high.isfinite().all()):
        raise ValueError(f"box is {box!r}: give (low, high), finite, with low < high")
    return low, high


def _check_scores(whose, scores, count=None):
    """Return scores as (N,), in at least float32."""
    if not isinstance(scores, torch.Tensor) or not scores.is_floating_point():
        kind = scores.dtype if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise TypeError(f"{whose} scores are {kind}: give a floating-point tensor")
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores.squeeze(1)
    if scores.ndim != 1 or not len(scores) or (count is not None and len(scores) != count):
        wanted = "N" if count is None else count
        raise ValueError(f"{whose} scores are of shape {tuple(scores.shape)}: give ({wanted},) or ({wanted}, 1), not 0")
    return scores.to(at_least_float32(scores.dtype))
