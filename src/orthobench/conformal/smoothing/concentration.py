"""What a finite number of noise samples leaves open: one-sided bounds on means, probabilities and distributions.

Each holds with a probability of at least 1 - delta, on its own; whoever needs several at once divides delta, as
`share_of_failure` does.
"""

import math

import numpy as np
from scipy.special import betaincinv, ndtr, ndtri

from ..predictor import check_count, check_share

_BELOW_ONE = 1 - 2**-53


def hoeffding_radius(count, delta):
    """Return by how much the mean of independent numbers in [0, 1] may miss its expectation, to one side.

    Parameters
    ----------
    count : int
        N, at least 1.
    delta : float
        Strictly between 0 and 1: the probability of a larger miss, at most.

    Returns
    -------
    float
        sqrt(ln(1 / delta) / (2 N)).

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    Hoeffding, "Probability inequalities for sums of bounded random variables", JASA 1963, theorem 1.
    """
    count, delta = check_count("count", count), check_share("delta", delta)
    return math.sqrt(-math.log(delta) / (2 * count))


def bernstein_radius(variance, count, delta):
    """Return by how much a mean of numbers in [0, 1] may miss its expectation, to one side, by their own variance.

    Parameters
    ----------
    variance : Tensor or float
        V, the sample variance with the divisor N - 1.
    count : int
        N, at least 2.
    delta : float
        Strictly between 0 and 1.

    Returns
    -------
    Tensor or float
        sqrt(2 V ln(2 / delta) / N) + 7 ln(2 / delta) / (3 (N - 1)), of the shape of the variances.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    Maurer and Pontil, "Empirical Bernstein bounds and sample variance penalization", COLT 2009, theorem 4.
    """
    count, delta = check_count("count", count, 2), check_share("delta", delta)
    logarithm = math.log(2 / delta)
    return (2 * variance * logarithm / count) ** 0.5 + 7 * logarithm / (3 * (count - 1))


def dkw_radius(count, delta):
    """Return by how much an empirical distribution function may miss the true one, to one side, anywhere.

    Parameters
    ----------
    count : int
        N, at least 1.
    delta : float
        In (0, 1/2].

    Returns
    -------
    float
        sqrt(ln(1 / delta) / (2 N)): Hoeffding's radius, at all points at once.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of Probability 1990, theorem 1:
    one-sided, which is why delta must not exceed 1/2.
    """
    if check_share("delta", delta) > 0.5:
        raise ValueError(f"delta must be at most 1/2 for the one-sided inequality, got {delta!r}.")
    return hoeffding_radius(count, delta)


def clopper_pearson_lower(successes, trials, delta):
    """Return the least probability that so many successes don't refute, one-sided.

    Parameters
    ----------
    successes : int or array of int
        In 0..trials.
    trials : int
        At least 1.
    delta : float
        Strictly between 0 and 1: the probability that the bound exceeds the truth, at most. All of it is on this side;
        of an interval of level 1 - delta with two sides, each has a half.

    Returns
    -------
    float or array of float64
        The p at which P(Bin(N, p) >= successes) = delta; 0 without a success.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", 1934.

    Examples
    --------
    >>> round(clopper_pearson_lower(10, 10, 0.05), 6)  # 0.05 ** (1 / 10)
    0.741134
    """
    successes = _check_successes(successes, trials)
    check_share("delta", delta)
    bound = np.where(
        successes == 0, 0.0, betaincinv(np.maximum(successes, 1), trials - np.maximum(successes, 1) + 1, delta)
    )
    return bound if bound.ndim else float(bound)


def clopper_pearson_upper(successes, trials, delta):
    """Return the largest probability that so many successes don't refute, one-sided; see `clopper_pearson_lower`."""
    bound = 1 - np.asarray(clopper_pearson_lower(trials - _check_successes(successes, trials), trials, delta))
    return bound if bound.ndim else float(bound)


def lowered_probability(probability, shift):
    """Return the least probability that an event keeps when Gaussian noise is moved: Phi(Phi^-1(p) - shift).

    Parameters
    ----------
    probability : float or array
        p in [0, 1], of the event under noise N(x, sigma^2 I).
    shift : float
        At least 0: the distance that x is moved by, in sigma.

    Returns
    -------
    float or array
        Under N(x', sigma^2 I), for every x' within the distance. It is reached for half-spaces.

    Notes
    -----
    Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019, theorem 1; by
    Neyman and Pearson's lemma. A probability that was rounded to 1 counts as 1 - 2^-53, which is still lowered.
    """
    if shift == 0:
        return probability
    return ndtr(ndtri(np.minimum(probability, _BELOW_ONE)) - shift)


def share_of_failure(failure, points, classes):
    """Return what each bound may fail with, where one for each calibration point and each class must hold at once.

    Parameters
    ----------
    failure : float
        eta, of all together.
    points, classes : int
        Calibration points n, and classes C of a test point.

    Returns
    -------
    float
        eta / (n + C): the union bound.
    """
    return failure / (points + classes)


def _check_successes(successes, trials):
    check_count("trials", trials)
    successes = np.asarray(successes)
    if not np.issubdtype(successes.dtype, np.integer):
        raise TypeError(f"successes must be integers, got {successes.dtype}.")
    if successes.size and not 0 <= successes.min() <= successes.max() <= trials:
        raise ValueError(f"successes must be in 0..{trials}, got {successes.min()} to {successes.max()}.")
    return successes
