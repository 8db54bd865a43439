"""Whether losses are larger than a claim allows: p-values of their means over random splits of one pool of examples.

A miss of a conformal set is such a loss, and so is any other that a conformal method keeps a risk of, in [0, 1].
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import betabinom, binom, t

# The fewest splits that a t test takes, and the fewest examples of a part of a pool that tell how much their luck is.
SPLITS, EXAMPLES = 100, 10
# A file's verdicts are Holm-adjusted by the report. A cell of its own is refuted below this: Bonferroni's bound, which
# Holm's is at least as lenient as, for a thousand verdicts at 1e-3.
LEVEL, VERDICTS = 1e-3, 1000
# Means that differ by less don't: it is rounding.
ROUNDING = 1e-9


class Verdict(NamedTuple):
    """The p-value of a claim, NaN where there is no valid one, and why there is none."""

    p_value: float
    untested: str = ""


def is_refuted(p_value):
    """Whether a claim is refuted whatever else is in its file; never by NaN."""
    return p_value < LEVEL / VERDICTS


def risk_verdict(examples, losses, alpha, *, part=None, pool=None, noisy=False):
    """Return the `Verdict` on the claim that a risk is at most alpha, by a one-sided t test over splits.

    Parameters
    ----------
    examples : sequence of Array (t,)
        For each split the places in the pool of the examples that it tests.
    losses : sequence of Array (t,)
        Their losses, in [0, 1].
    alpha : float
        Strictly between 0 and 1.
    part, pool : int, optional
        If all splits test within the same random part of the pool: the number of examples in that, and of those that
        the splits divide.
    noisy : bool
        Whether losses depend on noise which is drawn once and kept from split to split.

    Returns
    -------
    Verdict
        Untested with fewer than `SPLITS` splits, or with a part of fewer than `EXAMPLES` examples.

    Notes
    -----
    Given the pool, calibration and test examples of a random split are exchangeable, so that its mean loss is at most
    alpha in expectation, and splits are independent: their means are compared with alpha by Student's t test. What all
    splits share, a part of the pool or noise, may be bad luck, and its variance is added to that of the mean:

        s^2 (1/k - 1/N)                    of a random k of N examples, of whose mean losses s^2 is the variance;
        s^2 / k + alpha (1 - alpha) / N    of these with kept noise, in their losses and in those of the calibration.

    Splits count by the number of examples that they test. Where nothing varies, a mean above alpha refutes.
    """
    sizes = np.array([len(each) for each in losses], dtype=float)
    if not sizes.sum():
        return Verdict(np.nan, "no example was tested")
    if len(losses) < SPLITS:
        return Verdict(np.nan, f"needs {SPLITS} splits{' of noisy scores' * noisy}, these are {len(losses)}")
    by_example = _means(np.concatenate(examples), np.concatenate(losses))
    part, pool = part or len(by_example), pool or len(by_example)
    if part < EXAMPLES and (noisy or part < pool):
        return Verdict(np.nan, f"needs {EXAMPLES} examples of the pool, these are {part}")
    luck = by_example.var() * (1 / part - (0 if noisy else 1 / pool)) + noisy * alpha * (1 - alpha) / pool
    excess = (np.array([np.sum(each, dtype=float) for each in losses]) - alpha * sizes) / sizes.mean()
    error = (excess.var(ddof=1) / len(excess) + luck) ** 0.5
    if error < ROUNDING:
        return Verdict(float(excess.mean() < ROUNDING))
    return Verdict(float(t.sf(excess.mean() / error, len(excess) - 1)))


def known_risk_p_value(risks, level, delta=None):
    """Return the p-value of the claim that risks of calibrations, each known exactly, are at most a level.

    Parameters
    ----------
    risks : Array (S,)
        Of independent calibrations.
    level : float
        Strictly between 0 and 1.
    delta : float, optional
        What is claimed is a probability of 1 - delta that a risk is at most the level, judged by the binomial
        distribution; without it the expected risk, by Student's t test. NaN where `risk_verdict` has none.
    """
    if delta is not None:
        return float(binom.sf(int((risks > level + ROUNDING).sum()) - 1, len(risks), delta))
    return risk_verdict(np.arange(len(risks))[:, None], risks[:, None], level).p_value


def coverage_verdict(examples, misses, alpha, *, calibration, part=None, pool=None, noisy=False):
    """Return the `Verdict` on the claim that sets hold the true class with a probability of at least 1 - alpha.

    Parameters
    ----------
    examples : sequence of Array (t,)
        For each split the places in the pool of the examples that it tests.
    misses : sequence of Array (t,) of bool
        Whether their sets missed the true class.
    alpha : float
        Strictly between 0 and 1.
    calibration : int
        Examples that each split is calibrated on.
    part, pool, noisy
        As of `risk_verdict`.

    Returns
    -------
    Verdict
        That of `risk_verdict` where there is one. Else, without noise, by `coverage_distribution`.
    """
    verdict = risk_verdict(examples, misses, alpha, part=part, pool=pool, noisy=noisy)
    tests = [len(each) for each in misses]
    if noisy or not verdict.untested or not sum(tests):
        return verdict
    hits = sum(tests) - sum(int(np.sum(each)) for each in misses)
    return Verdict(float(coverage_distribution(calibration, tests, alpha, part, pool).cdf(hits)))


def coverage_distribution(calibration, tests, alpha, part=None, pool=None):
    """Return the distribution of the number of hits in all splits together, at the nominal level.

    Parameters
    ----------
    calibration : int
        Examples that each split is calibrated on.
    tests : sequence of int
        Examples that each split is tested on.
    alpha : float
    part, pool : int, optional
        As of `risk_verdict`.

    Returns
    -------
    scipy.stats.betabinom
        Frozen.

    Notes
    -----
    For scores without ties and noise. In one split of t tests hits are beta-binomial, exactly, with the parameters
    n + 1 - k and k, k = alpha (n + 1), and coverage has the mean 1 - alpha and the variance

        alpha (1 - alpha) (n + 1 + t) / (t (n + 2))

    (Vovk, "Conditional validity of inductive conformal predictors", ACML 2012). k isn't rounded: what is tested is the
    claim, 1 - alpha. As ranks alone are random, this holds given the pool, too: splits of all of it are independent.
    Coverages of splits of a random part of it have a covariance of alpha (1 - alpha) (1/k - 1/N), to first order. The
    number of hits in several splits is taken as beta-binomial with its mean and variance: where they are independent,
    p-values are 0.98 to 1.3 times those of the convolution, down to 1e-7.
    """
    tests = np.asarray(tests, dtype=float)
    total = tests.sum()
    luck = 1 / part - 1 / pool if part != pool else 0.0
    within = (tests * (calibration + 1 + tests)).sum() / (calibration + 2)
    # The variance in units of a single trial's, and the sum of the parameters that gives it.
    spread = (within + luck * (total**2 - (tests**2).sum())) / total
    strength = (total - spread) / max(spread - 1, 1e-9 * total)
    return betabinom(int(total), strength * (1 - alpha), strength * alpha)


def coverage_band(calibration, tests, alpha, level=0.99):
    """Return the mean coverages between which chance leaves those of an exact method: (low, high)."""
    cumulative = coverage_distribution(calibration, tests, alpha).pmf(np.arange(sum(tests) + 1)).cumsum()
    low, high = np.searchsorted(cumulative, [(1 - level) / 2, (1 + level) / 2])
    return float(low) / sum(tests), float(high) / sum(tests)


def _means(examples, losses):
    """Return the mean loss of each example that occurs."""
    tested = np.bincount(examples)
    return np.bincount(examples, losses)[tested > 0] / tested[tested > 0]
