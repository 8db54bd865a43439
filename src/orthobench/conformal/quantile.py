"""The rank of the calibration score that a conformal predictor compares with, exactly."""

import math
from fractions import Fraction
from numbers import Real

import numpy as np
import torch


def check_alpha(alpha):
    """Return the largest share of misses, alpha, as a float.

    Raises
    ------
    TypeError, ValueError
        If it is no number strictly between 0 and 1.
    """
    if not isinstance(alpha, Real) or isinstance(alpha, bool):
        raise TypeError(
            f"alpha must be a number, got {alpha!r} ({type(alpha).__name__}); 0.1 is the usual one, and predict_sets "
            "takes several alphas."
        )
    if not 0 < alpha < 1:
        raise ValueError(
            f"alpha must be strictly between 0 and 1, got {alpha!r}; it is the share of misses, 0.1 for 90 % coverage."
        )
    return float(Fraction(str(alpha)))


def least_count(alpha):
    """Return how many calibration scores an alpha takes at least, for sets that aren't full: n with alpha (n + 1) >= 1.

    Examples
    --------
    >>> least_count(0.1), least_count(0.07)
    (9, 14)
    """
    return math.ceil(1 / Fraction(str(check_alpha(alpha)))) - 1


def conformal_rank(count, alpha):
    """Return floor(alpha (n + 1)), the rank of the threshold among n calibration scores in ascending order.

    Parameters
    ----------
    count : int
        n >= 0.
    alpha : float
        Strictly between 0 and 1. Taken as the decimal number that it is printed as: with 0.29 and n = 99 the rank is
        29, though 0.29 * 100 is less than 29 in float64.

    Returns
    -------
    int
        In 0..n. 0 means that there are too few scores for this alpha: every class must be kept.

    Raises
    ------
    TypeError, ValueError
        If alpha is none of these.

    Examples
    --------
    >>> conformal_rank(99, 0.29), conformal_rank(8, 0.1)
    (29, 0)
    """
    return math.floor(Fraction(str(check_alpha(alpha))) * (count + 1))


def conformal_threshold(scores, alpha):
    """Return the score that a class needs to be in a conformal set: the floor(alpha (n + 1))-th smallest one.

    If a new score is exchangeable with these, it is at least as large with a probability of 1 - alpha or more.

    Parameters
    ----------
    scores : Tensor (n,)
        Of the true classes of the calibration examples; high is conform. May be infinite.
    alpha : float
        Strictly between 0 and 1.

    Returns
    -------
    float
        An order statistic, not interpolated. Minus infinity, which keeps every class, if alpha (n + 1) < 1.

    Raises
    ------
    TypeError, ValueError
        If alpha is none of these, or the scores aren't a vector of numbers.

    Notes
    -----
    Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005; with nonconformity scores it is the
    ceil((n + 1)(1 - alpha))-th smallest.

    Examples
    --------
    >>> conformal_threshold(torch.arange(1.0, 20.0), 0.1)
    2.0
    """
    if not isinstance(scores, torch.Tensor) or not scores.is_floating_point() or scores.ndim != 1:
        got = f"{scores.dtype} {tuple(scores.shape)}" if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise TypeError(f"scores must be a floating-point tensor (n,), got {got}; convert them by torch.as_tensor.")
    if scores.isnan().any():
        bad = int(scores.isnan().nonzero()[0])
        raise ValueError(f"scores must be numbers, got NaN for example {bad}; repair the model, or leave it out.")
    rank = conformal_rank(len(scores), alpha)
    return scores.detach().kthvalue(rank).values.item() if rank else -math.inf


def at_least(scores, threshold):
    """Return where scores are at least a threshold, as exact numbers whatever the type of the scores.

    Parameters
    ----------
    scores : Tensor
        Of float32 or float64.
    threshold : float or Tensor (K,)
        In float64. It is rounded up to the type of the scores: no score in between is lost or gained. Of several, the
        first K classes each have their own, and those after them none: they are always kept.

    Returns
    -------
    Tensor of bool
    """
    if isinstance(threshold, torch.Tensor):
        return scores.double() >= of_classes(threshold, scores.shape[1]).to(scores.device)
    if scores.dtype == torch.float32:
        rounded = np.float32(threshold)
        threshold = float(np.nextafter(rounded, np.float32(math.inf)) if rounded < threshold else rounded)
    return scores >= threshold


def of_classes(thresholds, classes):
    """Return thresholds (C,) of all classes, minus infinity for those that have none of the thresholds (K,)."""
    return torch.cat([thresholds, thresholds.new_full((max(0, classes - len(thresholds)),), -math.inf)])
