"""Intervals, Holm's adjustment, paired comparisons and ranks, against known values and by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from orthobench.report.statistics import holm, interval, median_interval, paired_comparison, rank_with_ties

NAN = float("nan")


# ----- intervals -----


def test_interval_is_students():
    # Student's own data (1908): how much longer ten patients slept with one drug than another. Figures from R's t.test.
    sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    result = interval(sleep)
    assert (result.estimate, result.low, result.high) == pytest.approx((1.58, 0.7001142, 2.4598858))
    assert result.n == 10
    expected = stats.ttest_1samp(sleep, 0).confidence_interval(0.99)
    assert (interval(sleep, 0.99).low, interval(sleep, 0.99).high) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("estimate", [interval, median_interval])
def test_one_value_has_no_interval_and_equal_values_a_degenerate_one(estimate):
    one, equal = estimate([0.1]), estimate([0.1] * 3)
    assert one.estimate == 0.1
    assert np.isnan([one.low, one.high]).all()
    assert (equal.estimate, equal.low, equal.high) == (0.1, 0.1, 0.1)


@pytest.mark.parametrize("estimate", [interval, median_interval])
def test_values_that_are_not_finite_are_named(estimate):
    with pytest.raises(ValueError, match=r"2 of 3 values are not finite \(seed 4: nan, seed 7: inf\)"):
        estimate(pd.Series({"seed 4": NAN, "seed 5": 1.0, "seed 7": np.inf}))
    with pytest.raises(ValueError, match="at least one value"):
        estimate([])


@pytest.mark.parametrize("n", [6, 8, 10, 25])
def test_median_interval_is_that_of_the_sign_test(n):
    values = np.random.default_rng(n).lognormal(size=n)
    result = median_interval(values)
    # scipy's quantile_test gives the two one-sided bounds of the same order statistics.
    expected = stats.quantile_test(values, q=np.median(values), p=0.5).confidence_interval(0.95)
    assert (result.low, result.high) == tuple(expected)
    assert result.estimate == np.median(values)


def test_median_interval_of_few_values_is_their_range():
    result = median_interval([3.0, 1.0, 2.0, 9.0, 4.0])
    assert (result.estimate, result.low, result.high) == (3.0, 1.0, 9.0)


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    trials = 2000
    normal, skewed = rng.normal(2, 3, size=(trials, 8)), rng.lognormal(size=(trials, 10))
    of_mean = np.mean([result.low <= 2 <= result.high for result in map(interval, normal)])
    of_median = np.mean([result.low <= 1 <= result.high for result in map(median_interval, skewed)])
    allowed = 4 * np.sqrt(0.95 * 0.05 / trials)
    assert abs(of_mean - 0.95) < allowed
    # Order statistics 2 and 9 of 10: 1 - 22 / 1024.
    assert abs(of_median - (1 - 22 / 1024)) < allowed


# ----- comparisons -----


def test_holm_by_hand():
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.04 * 1, then no smaller than the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]).tolist() == []
    with pytest.raises(ValueError, match="nan"):
        holm([0.1, NAN])


def test_paired_comparison_is_the_paired_t_test_on_common_seeds():
    rng = np.random.default_rng(3)
    a, b = pd.Series(rng.normal(size=12)), pd.Series(rng.normal(size=12))
    expected = stats.ttest_rel(a[2:], b[2:])
    result = paired_comparison(a[2:].sample(frac=1, random_state=0), b)
    assert result.n == 10
    assert result.difference == pytest.approx((a - b)[2:].mean())
    assert result.p == pytest.approx(expected.pvalue)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_a_comparison_of_equal_solvers_finds_nothing():
    values = {seed: 0.1 * (seed + 1) for seed in range(10)}
    result = paired_comparison(values, values)
    assert (result.difference, result.low, result.high, result.p) == (0, 0, 0, 1)
    # The same numbers added up in another order differ in the last bit, always upwards here.
    rounded = {seed: np.nextafter(value, 1) for seed, value in values.items()}
    assert paired_comparison(rounded, values).p == 1


def test_a_constant_difference_is_as_certain_as_the_sign_test_and_certain_where_things_are_counted():
    b = {seed: 0.1 * seed for seed in range(10)}
    a = {seed: value + 0.3 for seed, value in b.items()}  # constant up to rounding
    result = paired_comparison(a, b)
    assert result.p == pytest.approx(stats.binomtest(10, 10).pvalue)
    assert paired_comparison(a, b, counted=True).p == 0
    assert paired_comparison(b, b, counted=True).p == 1
    assert result.low == result.high == pytest.approx(0.3)


def test_too_few_common_seeds_give_no_test():
    one = paired_comparison({1: 2.0}, {1: 0.5, 2: 0.5})
    none = paired_comparison({1: 2.0}, {2: 0.5})
    assert (one.difference, one.n) == (1.5, 1)
    assert np.isnan([one.low, one.high, one.p]).all()
    assert none.n == 0
    assert np.isnan([none.difference, none.p]).all()


def test_a_seed_that_occurs_twice_is_refused():
    with pytest.raises(ValueError, match=r"Seeds occur twice: \[3\]"):
        paired_comparison(pd.Series([1.0, 2.0], index=[3, 3]), {3: 1.0})


# ----- ranks -----


def shown(table):
    return {solver: str(rank) for solver, rank in rank_with_ties(table).items()}


def far_apart(n):
    values = np.random.default_rng(1).normal([1, 2, 3], 0.01, size=(n, 3))
    return pd.DataFrame(values, columns=["first", "second", "third"])


def test_seven_seeds_never_separate_and_eight_can():
    assert shown(far_apart(7)) == {"first": "1-3", "second": "1-3", "third": "1-3"}
    assert shown(far_apart(8)) == {"first": "1", "second": "2", "third": "3"}


def test_seven_common_seeds_never_separate():
    table = far_apart(14)
    table.loc[:6, "first"] = NAN
    table.loc[7:, "second"] = NAN
    table.loc[0, "third"] = NAN  # shares 7 seeds with the first, 6 with the second
    assert shown(table) == {"first": "1-3†", "second": "1-3†", "third": "1-3†"}


def test_identical_solvers_tie():
    table = far_apart(10)
    table["twin"] = table["first"]
    assert shown(table) == {"first": "1-2", "twin": "1-2", "second": "3", "third": "4"}


def test_equal_differences_separate_few_solvers_and_counted_ones_always():
    table = pd.DataFrame({name: [float(place)] * 8 for place, name in enumerate("abcdefgh")})
    assert set(shown(table).values()) == {"1-8"}  # 28 pairs, each with p = 1 / 128
    assert {str(rank) for rank in rank_with_ties(table, counted=True).values()} == set("12345678")


def test_a_tie_need_not_be_transitive():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal([0, 0.5, 1], [0.1, 5, 0.1], size=(12, 3)), columns=["low", "noisy", "high"])
    assert shown(table) == {"low": "1-2", "noisy": "1-3", "high": "2-3"}


def test_order_of_columns_and_rows_does_not_change_ranks():
    table = far_apart(9).assign(fourth=np.random.default_rng(2).normal(1, 0.01, 9))
    shuffled = table.sample(frac=1, axis=0, random_state=0).sample(frac=1, axis=1, random_state=0)
    assert shown(shuffled) == shown(table)


def test_a_solver_that_always_failed_takes_no_rank_from_the_others():
    table = far_apart(8).assign(broken=NAN)
    ranks = rank_with_ties(table)
    assert {name: str(rank) for name, rank in ranks.items()} == {
        "first": "1",
        "second": "2",
        "third": "3",
        "broken": "failed",
    }
    assert (ranks["broken"].n, ranks["broken"].failed) == (0, 8)


def test_family_wise_error_is_five_percent_at_most_and_not_far_below():
    rng = np.random.default_rng(0)
    trials, false_alarms = 400, 0
    for _ in range(trials):
        seeds = rng.normal(0, 5, size=(9, 1))  # common to all solvers: what pairing removes
        table = pd.DataFrame(seeds + rng.normal(size=(9, 4)))
        false_alarms += any(str(rank) != "1-4" for rank in rank_with_ties(table).values())
    assert 0.02 < false_alarms / trials < 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


def test_pairing_sees_what_an_unpaired_test_would_miss():
    rng = np.random.default_rng(0)
    seeds = rng.normal(0, 5, size=10)
    table = pd.DataFrame({"better": seeds + rng.normal(0, 0.1, 10), "worse": seeds + rng.normal(0.5, 0.1, 10)})
    assert stats.ttest_ind(table["better"], table["worse"]).pvalue > 0.5
    assert shown(table) == {"better": "1", "worse": "2"}
