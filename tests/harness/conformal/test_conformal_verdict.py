"""The verdict on coverage: an exact distribution, few false alarms, and power where a claim is false."""

import numpy as np
import pytest
import torch
from scipy.stats import betabinom, binom

from orthobench.harness.conformal.verdict import (
    LEVEL,
    VERDICTS,
    coverage_band,
    coverage_distribution,
    coverage_p_value,
    is_refuted,
    pooled_p_value,
)


def in_a_loop(calibration, tests, alpha):
    total = np.ones(1)
    for number in tests:
        rank = alpha * (calibration + 1)
        one = [betabinom.pmf(k, number, calibration + 1 - rank, rank) for k in range(number + 1)]
        total = np.convolve(total, one)
    return total


@pytest.mark.parametrize("tests", [[7], [5, 5, 5], [3, 8, 8, 1]])
def test_the_distribution_is_that_of_convolutions_in_a_loop(tests):
    for calibration, alpha in ((20, 0.1), (99, 0.05), (30, 0.33)):
        found = coverage_distribution(calibration, tests, alpha)
        np.testing.assert_allclose(found, in_a_loop(calibration, tests, alpha), atol=1e-12)
        assert found.sum() == pytest.approx(1)
        mean = (found * np.arange(len(found))).sum() / sum(tests)
        assert mean == pytest.approx(1 - alpha)


def coverages(calibration, tests, alpha, miss, splits, generator):
    """Return hits of splits of their own data: thresholds at the rank of alpha, of scores shifted by `miss`."""
    rank = int(alpha * (calibration + 1) + 1e-9)
    hits = 0
    for _ in range(splits):
        threshold = torch.rand(calibration, generator=generator).kthvalue(rank).values
        hits += int((torch.rand(tests, generator=generator) >= threshold + miss).sum())
    return hits


def test_honest_coverage_is_rarely_doubted_and_half_the_p_values_are_below_a_half():
    generator = torch.Generator().manual_seed(0)
    found = [coverage_p_value(coverages(99, 40, 0.1, 0.0, 10, generator), 99, [40] * 10, 0.1) for _ in range(400)]
    for level in (0.01, 0.1, 0.5):
        low, high = binom.ppf([1e-5, 1 - 1e-5], 400, level)
        assert low - 8 <= sum(p <= level for p in found) <= high
    assert not any(map(is_refuted, found))


def test_coverage_that_is_too_low_by_a_twentieth_is_refuted():
    generator = torch.Generator().manual_seed(1)
    hits = coverages(400, 400, 0.1, 0.05, 50, generator)
    assert is_refuted(coverage_p_value(hits, 400, [400] * 50, 0.1))
    low, high = coverage_band(400, [400] * 50, 0.1)
    assert hits / 20_000 < low < 0.9 < high


def test_the_band_holds_an_exact_method_s_coverage_as_often_as_it_says():
    low, high = coverage_band(99, [40] * 10, 0.1)
    distribution = coverage_distribution(99, [40] * 10, 0.1)
    values = np.arange(401) / 400
    assert 0.985 <= distribution[(values >= low) & (values <= high)].sum() <= 0.999


def test_the_pooled_p_value_is_that_of_a_bootstrap():
    shares = np.random.default_rng(0).binomial(1, 0.87, 300).astype(float)
    means = np.random.default_rng(1).choice(shares, (20_000, 300)).mean(1)
    # How often the bootstrap's mean exceeds the observed one by as much as the nominal level does.
    expected = (means - shares.mean() >= 0.9 - shares.mean()).mean()
    assert pooled_p_value(shares, 0.1) == pytest.approx(expected, abs=0.02)


def test_equal_shares_are_tested_as_a_binomial():
    assert pooled_p_value(np.ones(50), 0.1) > 0.5
    assert pooled_p_value(np.zeros(50), 0.1) < LEVEL / VERDICTS
