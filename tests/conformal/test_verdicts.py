"""Verdicts on means over splits: exact distributions, few false alarms, and power where a claim is false."""

import math

import numpy as np
import pytest
from scipy.stats import betabinom, binom, ttest_1samp

from orthobench.conformal.verdicts import (
    LEVEL,
    SPLITS,
    VERDICTS,
    coverage_band,
    coverage_distribution,
    coverage_verdict,
    is_refuted,
    risk_verdict,
)
from orthobench.studies.coverage_verdicts import ALARMS, Setting, alarms, p_values


def convolved(calibration, tests, alpha):
    """The distribution of hits of independent splits, one after the other."""
    total = np.ones(1)
    for number in tests:
        rank = alpha * (calibration + 1)
        one = [betabinom.pmf(k, number, calibration + 1 - rank, rank) for k in range(number + 1)]
        total = np.convolve(total, one)
    return total


def losses_of(means, size=10):
    """Return examples and losses of splits with these mean losses."""
    return [np.arange(size)] * len(means), [np.full(size, mean) for mean in means]


@pytest.mark.parametrize(("calibration", "alpha"), [(20, 0.1), (99, 0.05), (30, 0.33)])
@pytest.mark.parametrize(("part", "pool"), [(None, None), (40, 60), (60, 60)])
def test_the_distribution_of_one_split_is_the_exact_one(calibration, alpha, part, pool):
    hits = np.arange(18)
    found = coverage_distribution(calibration, [17], alpha, part, pool).cdf(hits)
    np.testing.assert_allclose(found, convolved(calibration, [17], alpha).cumsum(), atol=1e-12)


@pytest.mark.parametrize("tests", [[50, 50], [40] * 5, [100] * 20, [3, 80, 80, 1]])
def test_the_p_values_of_several_splits_are_nearly_those_of_a_convolution(tests):
    for calibration, alpha in ((50, 0.1), (400, 0.1), (30, 0.05), (30, 0.33)):
        exact = convolved(calibration, tests, alpha).cumsum()
        assert exact[-1] == pytest.approx(1)
        found = coverage_distribution(calibration, tests, alpha).cdf(np.arange(len(exact)))
        counts = (exact > 1e-7) & (exact < 0.1)
        assert counts.sum() > 5
        ratios = found[counts] / exact[counts]
        assert ratios.min() > 0.98
        assert ratios.max() < 1.3


def test_single_tests_are_binomial():
    np.testing.assert_allclose(
        coverage_distribution(50, [1] * 20, 0.1).cdf(np.arange(21)), binom.cdf(np.arange(21), 20, 0.9), atol=1e-5
    )


@pytest.mark.parametrize(("part", "splits"), [(30, 2), (30, 10), (100, 5)])
def test_mean_and_variance_of_hits_within_a_part_are_those_of_simulated_ones(part, splits):
    """Thresholds are the tenth of 99 scores; tests are what they leave of the first of 199."""
    random = np.random.default_rng(0)
    order = np.argsort(random.random((2000, splits, 199)), axis=2)
    scores = random.random((2000, 199))
    own = np.take_along_axis(scores[:, None], order[:, :, :99], 2)
    thresholds = np.partition(own, 9, axis=2)[:, :, [9]]
    rest = order[:, :, 99:]
    hits = (rest < part) & (np.take_along_axis(scores[:, None], rest, 2) >= thresholds)
    tests = (rest < part).sum(2)
    typical = np.full(splits, round(tests.mean()))
    expected = coverage_distribution(99, typical, 0.1, part, 199)
    coverage = hits.sum((1, 2)) / tests.sum(1)
    assert coverage.mean() == pytest.approx(0.9, abs=0.003)
    # To first order: the luck of a part is a little less.
    assert 0.85 < coverage.var() / (expected.var() / typical.sum() ** 2) < 1.1


def test_the_band_holds_an_exact_method_s_coverage_as_often_as_it_says():
    low, high = coverage_band(99, [40] * 10, 0.1)
    distribution = convolved(99, [40] * 10, 0.1)
    values = np.arange(401) / 400
    assert 0.985 <= distribution[(values >= low) & (values <= high)].sum() <= 0.995


def test_enough_splits_are_tested_by_student_s_t():
    means = np.random.default_rng(0).uniform(0, 0.25, SPLITS)
    expected = ttest_1samp(means, 0.1, alternative="greater").pvalue
    assert risk_verdict(*losses_of(means), 0.1) == (pytest.approx(expected), "")
    examples, losses = losses_of((means > 0.1).astype(float))
    expected = ttest_1samp(means > 0.1, 0.4, alternative="greater").pvalue
    assert coverage_verdict(examples, losses, 0.4, calibration=50).p_value == pytest.approx(expected)


def test_splits_count_by_their_tests():
    """Ones without any say nothing; the mean that is tested is that over all tests."""
    random = np.random.default_rng(1)
    losses = [random.integers(0, 2, size).astype(float) for size in random.integers(0, 9, 2 * SPLITS)]
    examples = [np.arange(len(each)) for each in losses]
    mean = float(np.concatenate(losses).mean())
    assert risk_verdict(examples, losses, mean).p_value == pytest.approx(0.5)
    none = [np.arange(0)] * SPLITS
    assert risk_verdict(examples + none, losses + none, mean).p_value == pytest.approx(0.5)
    assert risk_verdict(examples, losses, mean - 0.1).p_value < 0.01
    assert risk_verdict(examples, losses, mean + 0.1).p_value > 0.99


def test_where_nothing_varies_a_mean_above_the_claim_refutes():
    for mean, p_value in ((0.2, 0.0), (0.1, 1.0), (0.05, 1.0)):
        assert risk_verdict(*losses_of([mean] * SPLITS), 0.1) == (p_value, "")
    assert risk_verdict(*losses_of([1 / 7] * SPLITS, size=7), 1 / 7) == (1.0, "")


def test_what_has_no_valid_test_says_why():
    examples, losses = losses_of([1.0] * (SPLITS - 1))
    assert "needs 100 splits, these are 99" in risk_verdict(examples, losses, 0.1).untested
    verdict = coverage_verdict(examples, losses, 0.1, calibration=50, noisy=True)
    assert verdict.untested == "needs 100 splits of noisy scores, these are 99"
    assert math.isnan(verdict.p_value)
    assert not is_refuted(verdict.p_value)
    assert is_refuted(coverage_verdict(examples, losses, 0.1, calibration=50).p_value)
    few = losses_of([1.0] * SPLITS, size=5)
    assert "needs 10 examples of the pool, these are 5" in risk_verdict(*few, 0.1, part=5, pool=50).untested
    # The exact distribution knows how much the luck of a few examples is.
    assert coverage_verdict(*few, 0.1, calibration=40, part=5, pool=50).p_value < LEVEL
    assert coverage_verdict(*losses_of([1.0] * SPLITS, 1), 0.1, calibration=40, part=1, pool=50).p_value > 0.05
    none = [np.zeros(0, dtype=int)] * 3
    assert coverage_verdict(none, none, 0.1, calibration=50).untested == "no example was tested"


@pytest.mark.parametrize(
    "setting",
    [
        Setting(50, 1),
        Setting(100, 5, part=100),
        Setting(100, 100, part=50),
        Setting(50, 100, method="noisy"),
        Setting(50, 100, method="risk"),
    ],
    ids=str,
)
def test_claims_that_hold_are_rarely_doubted(setting):
    p = p_values(setting, 300)
    for figure, level in zip(alarms(setting, p), ALARMS, strict=True):
        assert figure.value <= binom.ppf(1 - 1e-4, 300, level) / 300
    assert p.min() > LEVEL / VERDICTS
    assert p.max() > 0.9


@pytest.mark.parametrize("setting", [Setting(100, 100, 50), Setting(50, 100, method="noisy")], ids=str)
def test_luck_that_splits_share_would_look_like_low_coverage(setting):
    random, doubted = np.random.default_rng(0), 0
    for _ in range(100):
        examples, losses = setting.losses(random)
        doubted += coverage_verdict(examples, losses, setting.alpha, calibration=setting.calibration).p_value < 0.05
    assert doubted > 15


@pytest.mark.parametrize("method", ["exact", "risk"])
def test_a_mean_that_is_two_points_too_high_is_refuted(method):
    setting = Setting(400, 100, tests=400, excess=0.02, method=method)
    assert np.mean([is_refuted(p) for p in p_values(setting, 50)]) >= 0.9
