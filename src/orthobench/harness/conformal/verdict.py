"""Whether coverage is lower than chance allows at the nominal level: one one-sided test of all splits together."""

import numpy as np
from scipy.stats import betabinom, norm

# A file's verdicts are Holm-adjusted by the report. A cell of its own is refuted below this: Bonferroni's bound, which
# Holm's is at least as lenient as, for a thousand verdicts at 1e-3.
LEVEL, VERDICTS = 1e-3, 1000


def coverage_distribution(calibration, tests, alpha):
    """Return the distribution of the number of hits in independent splits, at the nominal level.

    Parameters
    ----------
    calibration : int
        Examples that each split is calibrated on.
    tests : sequence of int
        Examples that each split is tested on.
    alpha : float

    Returns
    -------
    Array (sum of tests + 1,) float64
        The probability of each number.

    Notes
    -----
    Given the calibration, coverage of scores without ties is Beta(n + 1 - k, k), k = alpha (n + 1), of mean 1 - alpha
    (Vovk, "Conditional validity of inductive conformal predictors", ACML 2012); hits are binomial given that. k isn't
    rounded here: what is tested is the claim, 1 - alpha. Where the splits test all of one pool they vary less, on
    average, than independent ones, so that chance refutes less often than the p-value says. Where they test the same
    part of it again and again they don't: see `pooled_p_value`.
    """
    rank = alpha * (calibration + 1)
    count = sum(tests) + 1
    size = 1 << (count - 1).bit_length()
    product = np.ones(size // 2 + 1, dtype=complex)
    for number, splits in zip(*np.unique(tests, return_counts=True), strict=True):
        one = betabinom.pmf(np.arange(number + 1), number, calibration + 1 - rank, rank)
        product *= np.fft.rfft(one, size) ** splits
    return np.fft.irfft(product, size)[:count].clip(min=0)


def coverage_p_value(hits, calibration, tests, alpha):
    """Return the probability of so few hits or fewer, at the nominal level.

    Parameters
    ----------
    hits : int
        Over all splits.
    calibration, tests, alpha
        As of `coverage_distribution`.
    """
    return float(min(1.0, coverage_distribution(calibration, tests, alpha)[: hits + 1].sum()))


def coverage_band(calibration, tests, alpha, level=0.99):
    """Return the mean coverages between which chance leaves those of an exact method: (low, high)."""
    cumulative = coverage_distribution(calibration, tests, alpha).cumsum()
    low, high = np.searchsorted(cumulative, [(1 - level) / 2, (1 + level) / 2])
    return float(low) / sum(tests), float(high) / sum(tests)


def pooled_p_value(shares, alpha):
    """Return the one-sided p-value of coverage below 1 - alpha by a bootstrap of the pool.

    For splits that share more than independent ones would: the noise of a method that is kept from split to split, or
    the luck of a part of the pool that each of them tests.

    Parameters
    ----------
    shares : Array (examples,)
        For each example of the pool the share of its splits in which its set held the true class.
    alpha : float

    Notes
    -----
    The standard error of the mean of the bootstrap, in closed form: the standard deviation over sqrt(n). Where no
    example differs from another, that of a binomial at the nominal level.
    """
    shares = np.asarray(shares, dtype=float)
    error = max(shares.std(), 0.0) / len(shares) ** 0.5 or (alpha * (1 - alpha) / len(shares)) ** 0.5
    return float(norm.cdf((shares.mean() - (1 - alpha)) / error))


def is_refuted(p_value):
    """Whether a cell's coverage is refuted whatever else is in its file."""
    return p_value < LEVEL / VERDICTS
