"""Bounds from finite samples: the formulas, and how often they miss what is known."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from orthobench.conformal.smoothing.concentration import (
    bernstein_radius,
    clopper_pearson_lower,
    clopper_pearson_upper,
    dkw_radius,
    hoeffding_radius,
    lowered_probability,
    share_of_failure,
)

TRIALS, DELTA = 4000, 0.1
MOST_MISSES = stats.binom.ppf(1 - 1e-4, TRIALS, DELTA)


def draws(distribution, count=50):
    return distribution.rvs((TRIALS, count), random_state=np.random.default_rng(0))


def test_hoeffding_and_bernstein_are_those_of_the_formulas():
    assert hoeffding_radius(256, 0.001) == pytest.approx(0.116, abs=5e-4)  # of RSCP+'s defaults
    assert hoeffding_radius(200, math.exp(-4)) == pytest.approx(0.1)
    expected = math.sqrt(2 * 0.04 * math.log(2000) / 256) + 7 * math.log(2000) / (3 * 255)
    assert bernstein_radius(0.04, 256, 0.001) == pytest.approx(expected)
    torch.testing.assert_close(
        bernstein_radius(torch.tensor([0.0, 0.04]).double(), 256, 0.001),
        torch.tensor([7 * math.log(2000) / (3 * 255), expected]).double(),
    )
    assert share_of_failure(0.001, 90, 10) == pytest.approx(1e-5)


@pytest.mark.parametrize("distribution", [stats.beta(0.3, 0.2), stats.bernoulli(0.9), stats.uniform()])
def test_means_miss_by_more_than_the_radii_at_most_as_often_as_stated(distribution):
    samples = draws(distribution)
    means, variances = samples.mean(1), samples.var(1, ddof=1)
    for radii in (hoeffding_radius(50, DELTA), bernstein_radius(variances, 50, DELTA)):
        for sign in (1, -1):
            assert (sign * (means - distribution.mean()) > radii).sum() <= MOST_MISSES


def test_the_dkw_radius_is_missed_as_often_as_stated_and_hardly_less():
    count = 1000
    samples = np.sort(np.random.default_rng(1).random((TRIALS, count)), 1)
    excess = (samples - np.arange(count) / count).max(1)  # true distribution less the empirical one, anywhere
    misses = (excess > dkw_radius(count, DELTA)).sum()
    assert stats.binom.ppf(1e-4, TRIALS, 0.8 * DELTA) <= misses <= MOST_MISSES


@pytest.mark.parametrize("trials", [1, 7, 256, 5000])
@pytest.mark.parametrize("delta", [0.1, 1e-3, 1e-7])
def test_clopper_pearson_is_the_one_sided_bound(trials, delta):
    """Of a two-sided interval at delta, as proportion_confint returns it, each side would have delta / 2."""
    successes = np.arange(1, trials + 1)
    lower = clopper_pearson_lower(successes, trials, delta)
    np.testing.assert_allclose(stats.binom.sf(successes - 1, trials, lower), delta, rtol=1e-6)
    upper = clopper_pearson_upper(successes - 1, trials, delta)
    np.testing.assert_allclose(stats.binom.cdf(successes - 1, trials, upper), delta, rtol=1e-6)
    two_sided = stats.binomtest(trials // 2 + 1, trials).proportion_ci(1 - delta)
    assert clopper_pearson_lower(trials // 2 + 1, trials, delta) > two_sided.low
    assert clopper_pearson_lower(trials // 2 + 1, trials, delta / 2) == pytest.approx(two_sided.low)
    assert clopper_pearson_lower(0, trials, delta) == 0
    assert clopper_pearson_upper(trials, trials, delta) == 1


@pytest.mark.parametrize("p", [0.02, 0.5, 0.97])
def test_clopper_pearson_misses_at_most_as_often_as_stated(p):
    successes = draws(stats.bernoulli(p)).sum(1)
    assert (clopper_pearson_lower(successes, 50, DELTA) > p).sum() <= MOST_MISSES
    assert (clopper_pearson_upper(successes, 50, DELTA) < p).sum() <= MOST_MISSES


def test_a_lowered_probability_is_that_of_a_half_space_moved_away():
    noise = stats.norm(scale=0.5)
    for edge in (-2.0, 0.0, 0.7):
        assert lowered_probability(noise.sf(edge), 0.3 / 0.5) == pytest.approx(noise.sf(edge + 0.3), rel=1e-12)
    shares = np.linspace(0, 1, 11)
    assert (lowered_probability(shares, 0.0) == shares).all()
    assert (lowered_probability(shares, 0.1)[1:] < shares[1:]).all()
    assert lowered_probability(0.0, 3.0) == 0


def test_a_probability_that_was_rounded_to_one_is_still_lowered():
    exact = stats.norm.cdf(stats.norm.isf(1e-20) - 3)
    assert stats.norm.cdf(stats.norm.isf(1e-20)) == 1
    assert lowered_probability(1.0, 3.0) <= exact < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hoeffding_radius(0, 0.1), "count must be an integer of at least 1, got 0"),
        (lambda: hoeffding_radius(10, 0), "delta must be strictly between 0 and 1, got 0"),
        (lambda: bernstein_radius(0.1, 1, 0.1), "count must be an integer of at least 2, got 1"),
        (lambda: dkw_radius(10, 0.6), "delta must be at most 1/2"),
        (lambda: clopper_pearson_lower(3, 2, 0.1), r"successes must be in 0\.\.2, got 3"),
        (lambda: clopper_pearson_upper(1.5, 2, 0.1), "successes must be integers"),
        (lambda: clopper_pearson_lower(1, 2, 1.0), "delta must be strictly between 0 and 1"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
