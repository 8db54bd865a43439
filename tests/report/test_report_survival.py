"""Censored steps and times to the target: the median, the share that reached it, and who counts as censored."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from made_up import (
    ADAMW,
    CHAIN,
    DIGITS,
    EVALUATIONS,
    SGD,
    TARGET,
    TORCH_MUON,
    TRAINING,
    TURBO,
    fail,
    training_frame,
    training_rows,
)
from scipy import stats

from orthobench.report.survival import (
    COLUMNS,
    attempts,
    evaluation_grid,
    format_row,
    has_target,
    kaplan_meier_median,
    levels,
    protocol,
    share_reached,
    to_target,
)

INF = math.inf


def frame(*losses, solver=TURBO, target=TARGET, dataset=DIGITS):
    """One cell for each list of losses."""
    return pd.DataFrame(
        [row for seed, own in enumerate(losses) for row in training_rows(solver, dataset, seed, own, target=target)]
    )


def board(rows, metric="steps_to_target", dataset=DIGITS):
    return {row.solver: row for row in to_target(rows, dataset, TRAINING, metric)}


# ----- the estimate -----

# Weeks in remission on 6-mercaptopurine (Freireich et al., 1963): the example of most textbooks.
RELAPSED = [6, 6, 6, 7, 10, 13, 16, 22, 23]
STILL_WELL = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]


def by_hand(at, reached, level=0.95):
    """Median and bounds by the product of (1 - d / n), Greenwood's formula on the log-log scale, and plain loops."""
    survival, greenwood, z = 1.0, 0.0, stats.norm.ppf((1 + level) / 2)
    found = {"middle": INF, "low": INF, "high": INF}
    for time in sorted({t for t, event in zip(at, reached, strict=True) if event}):
        n = sum(t >= time for t in at)
        d = sum(t == time and event for t, event in zip(at, reached, strict=True))
        survival *= 1 - d / n
        if survival > 1e-12:
            greenwood += d / (n * (n - d))
            error = z * math.sqrt(greenwood) / abs(math.log(survival))
            curves = {"middle": survival, "low": survival ** math.exp(error), "high": survival ** math.exp(-error)}
        else:
            curves = dict.fromkeys(found, 0.0)
        for name, value in curves.items():
            if value <= 0.5 + 1e-9:
                found[name] = min(found[name], float(time))
    return found["middle"], found["low"], found["high"]


def test_the_median_of_the_textbook_example():
    result = kaplan_meier_median(RELAPSED + STILL_WELL, [True] * 9 + [False] * 12)
    # R's survfit with conf.type = "log-log" gives 23, 13 and NA.
    assert (result.estimate, result.low, result.high, result.n) == (23, 13, INF, 21)


def test_a_small_example_by_hand():
    # At 3: 4/5; 5 is censored; at 6: 4/5 * 2/3 = 0.53; 8 is censored; at 10 the last: 0.
    result = kaplan_meier_median([3, 5, 6, 8, 10], [True, False, True, False, True])
    assert (result.estimate, result.low) == (10, 3)
    # Without the last event the curve stays at 0.53, above 1/2.
    assert kaplan_meier_median([3, 5, 6, 8, 10], [True, False, True, False, False]).estimate == INF


@pytest.mark.parametrize("seed", range(30))
def test_medians_and_bounds_are_those_of_the_formulas(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 30))
    at, reached = rng.integers(1, 12, size=n), rng.random(n) < rng.random()
    result = kaplan_meier_median(at, reached)
    assert (result.estimate, result.low, result.high) == by_hand(at.tolist(), reached.tolist())


def test_half_exactly_is_reached_whatever_the_rounding():
    for n in range(2, 60, 2):
        at = np.arange(1, n + 1)
        assert kaplan_meier_median(at, [True] * n).estimate == n // 2
        assert kaplan_meier_median(at, at < n).estimate == n // 2  # the last one censored


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    trials, covered = 400, 0
    for _ in range(trials):
        times, budget = rng.exponential(size=20), 1.5
        result = kaplan_meier_median(np.minimum(times, budget), times <= budget)
        covered += result.low <= math.log(2) <= result.high
    assert covered / trials > 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


def test_all_censored_is_not_reached_at_either_end():
    result = kaplan_meier_median([100] * 8, [False] * 8)
    assert (result.estimate, result.low, result.high) == (INF, INF, INF)


def test_ties_alone_have_a_degenerate_interval_and_few_values_their_range():
    equal = kaplan_meier_median([40] * 8, [True] * 8)
    assert (equal.estimate, equal.low, equal.high) == (40, 40, 40)
    few = kaplan_meier_median([20, 60, 40], [True] * 3)
    assert (few.estimate, few.low, few.high) == (40, 20, 60)


def test_one_value_has_no_interval():
    assert kaplan_meier_median([40], [True]).estimate == 40
    assert kaplan_meier_median([40], [False]).estimate == INF
    assert np.isnan([kaplan_meier_median([40], [True]).low, kaplan_meier_median([40], [True]).high]).all()


def test_no_value_and_values_that_are_not_finite_are_refused_and_nothing_warns():
    for at in ([], [1.0, math.nan], [INF]):
        with pytest.raises(ValueError, match="all finite but for what is never reached"):
            kaplan_meier_median(at, [True] * len(at))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kaplan_meier_median([1, 2], [True, True])


def test_the_share_has_the_exact_binomial_interval():
    share = share_reached(3, 8)
    # The bounds at which 3 or more, and 3 or fewer, of 8 have probability 0.025.
    assert stats.binom.sf(2, 8, share.low) == pytest.approx(0.025)
    assert stats.binom.cdf(3, 8, share.high) == pytest.approx(0.025)
    assert (share.estimate, share.n) == (0.375, 8)
    assert share_reached(8, 8).high == 1
    assert share_reached(0, 8).low == 0


# ----- cells -----


def test_the_first_of_two_evaluations_in_a_row_counts():
    rows = frame(
        [2.0, 0.2, 0.9, 0.3, 0.1, 0.5],  # once at 20, twice from 60; exactly the target is enough
        [2.0, 0.9, 0.9, 0.9, 0.9, 0.1],  # once, at the end: not confirmed
        [0.1, 0.1, 0.9, 0.9, 0.9, 0.9],  # at the start
        [2.0, 0.9, 0.9, 0.9, 0.9, 0.9],
    )
    found = attempts(rows, DIGITS, TRAINING)
    assert [(each.at, each.reached) for each in found] == [(60, True), (100, False), (0, True), (100, False)]
    seconds = attempts(rows, DIGITS, TRAINING, "time_to_target_s")
    assert [each.at for each in seconds] == pytest.approx([0.3, 0.5, 0.0, 0.5])


def test_a_good_cell_is_censored_at_its_own_end():
    rows = frame([2.0, 0.9, 0.9], [2.0, 0.2, 0.2, 0.2, 0.2, 0.2])
    assert [(each.at, each.reached) for each in attempts(rows, DIGITS, TRAINING)] == [(40, False), (20, True)]


@pytest.mark.parametrize("status", ["diverged", "timeout", "out_of_memory", "error", "refuted"])
def test_a_failed_cell_did_not_reach_the_target_whatever_it_reached_before(status):
    good = [2.0, 0.2, 0.2, 0.2, 0.2, 0.2]
    rows = frame(good, good[:4])
    rows = fail(rows, TURBO, [1], status)
    failed = attempts(rows, DIGITS, TRAINING)[1]
    # It got to step 60, and counts as never reaching the target.
    assert (failed.at, failed.reached, failed.status) == (INF, False, status)
    row = board(rows)[TURBO]
    assert (row.n, row.reached, row.unreached, dict(row.failures)) == (2, 1, 0, {status: 1})
    assert row.note == "made to fail"
    assert row.median.estimate == 20  # half have reached it
    assert (
        board(fail(rows, TURBO, [0, 1], status)) == {} or board(fail(rows, TURBO, [0, 1], status))[TURBO].reached == 0
    )


def test_a_failed_cell_before_any_time_never_reaches_the_target_either():
    rows = frame([2.0, 0.2, 0.2, 0.2, 0.2, 0.2], [2.0])
    rows = fail(rows, TURBO, [1], "error")
    rows.loc[rows["idx_rep"] == 1, "time"] = np.nan
    assert [each.at for each in attempts(rows, DIGITS, TRAINING, "time_to_target_s")] == pytest.approx([0.1, INF])
    nothing = rows[rows["idx_rep"] == 1]
    assert attempts(nothing, DIGITS, TRAINING, "time_to_target_s")[0].at == INF


def test_where_a_failed_cell_is_censored_depends_on_no_other_solver():
    rows = frame(*[[2.0, 0.2, 0.2, 0.2, 0.2, 0.2]] * 3, [2.0, 0.2])
    rows = fail(rows, TURBO, [3], "error")
    slow = frame([2.0, 0.9, 0.9, 0.9, 0.9, 0.9], solver=SGD).assign(time=lambda x: 1000 * x["time"])
    alone, together = (attempts(each, DIGITS, TRAINING, "time_to_target_s") for each in (rows, pd.concat([rows, slow])))
    assert together[-4:] == alone


def test_what_is_never_reached_stays_at_risk():
    # 3 of 4 reach it at 20: the last one counts among those still at risk, wherever it would be put after that.
    for never in (30, 1e9, INF):
        result = kaplan_meier_median([20, 20, 20, never], [True] * 3 + [False])
        assert (result.estimate, result.high) == (20, 20 if result.high == 20 else INF)
    assert kaplan_meier_median([20, INF, INF], [True, False, False]).estimate == INF
    assert kaplan_meier_median([20, 60, INF], [True, True, False]).estimate == 60


def test_the_grid_of_evaluations_is_told():
    rows = frame([2.0, 0.2, 0.2, 0.2, 0.2, 0.2])
    grid = evaluation_grid(rows, DIGITS, TRAINING)
    assert grid == "evaluated every 20 steps"
    told = protocol(list(board(rows).values()), [TARGET], "steps_to_target", grid)
    assert "at most 0.300 (evaluated every 20 steps: what lies between two evaluations counts with the later" in told
    assert evaluation_grid(rows[rows["stop_val"] != 60], DIGITS, TRAINING) == "evaluated 20 to 40 steps apart"
    # The step of a failure is none of it.
    failed = rows.assign(stop_val=rows["stop_val"].replace(100, 87))
    failed.loc[failed["stop_val"] == 87, "objective_status"] = "diverged"
    assert evaluation_grid(failed, DIGITS, TRAINING) == "evaluated every 20 steps"
    assert evaluation_grid(rows[:1], DIGITS, TRAINING) == ""


def test_each_seed_has_its_own_target_where_data_are_simulated():
    rows = training_frame(seeds=3, solvers=[TURBO], datasets=[CHAIN])
    assert levels(rows, CHAIN, TRAINING, "target") == pytest.approx([0.3, 0.303, 0.306])
    for each in attempts(rows, CHAIN, TRAINING):
        own = rows[rows["idx_rep"] == each.seed]
        below = own["objective_held_out_loss"] <= own["objective_target"]
        first = next(k for k in range(5) if below.iloc[k] and below.iloc[k + 1])
        assert each.at == EVALUATIONS[first]
    assert "at most 0.300 to 0.306, by seed" in protocol(
        list(board(rows, dataset=CHAIN).values()), [0.3, 0.306], "steps_to_target"
    )


def test_a_target_is_the_same_for_all_solvers():
    rows = training_frame(seeds=2, solvers=[TURBO, SGD], datasets=[DIGITS])
    rows.loc[(rows["solver_name"] == SGD) & (rows["idx_rep"] == 1), "objective_target"] = 0.5
    with pytest.raises(ValueError, match=r"repetition 1 on digits.* has the targets 0\.3 and 0\.5: report on one run"):
        attempts(rows, DIGITS, TRAINING)


def test_a_column_that_disagrees_with_the_curve_is_an_error():
    rows = training_frame(seeds=2, solvers=[TURBO, SGD], datasets=[DIGITS])
    last = (rows["solver_name"] == TURBO) & (rows["idx_rep"] == 1) & (rows["stop_val"] == 100)
    honest = rows.loc[last, "objective_steps_to_target"].item()
    for told in (honest - 20, np.nan):
        rows.loc[last, "objective_steps_to_target"] = told
        with pytest.raises(
            ValueError, match=rf"repetition 1, on .*steps_to_target is {told:g}, and the curve .* {honest:g}"
        ):
            attempts(rows, DIGITS, TRAINING)
    unreached = (rows["solver_name"] == SGD) & (rows["idx_rep"] == 0) & (rows["stop_val"] == 100)
    rows.loc[last, "objective_steps_to_target"] = honest
    rows.loc[unreached, "objective_steps_to_target"] = 80.0
    with pytest.raises(ValueError, match="steps_to_target is 80, and the curve of held_out_loss says nan"):
        attempts(rows, DIGITS, TRAINING)
    assert attempts(rows.drop(columns="objective_steps_to_target"), DIGITS, TRAINING)


# ----- the table -----


def test_solvers_come_by_median_and_those_that_never_reach_it_last():
    rows = training_frame(seeds=8, solvers=[SGD, TORCH_MUON, ADAMW], datasets=[DIGITS])
    found = to_target(rows, DIGITS, TRAINING)
    assert [row.solver for row in found] == [TORCH_MUON, ADAMW, SGD]
    muon, adamw, sgd = found
    assert muon.median.estimate < adamw.median.estimate < sgd.median.estimate == INF
    assert (sgd.reached, sgd.unreached, sgd.share.estimate) == (0, 8, 0)
    texts = format_row(sgd, "steps_to_target")
    assert len(texts) == len(COLUMNS)
    assert texts[:4] == ["not reached", SGD, "[not reached, not reached]", "0 of 8"]
    assert format_row(muon, "steps_to_target")[0] == "60"
    assert format_row(muon, "time_to_target_s")[2].count("not reached") == 0


def test_one_seed_has_a_median_and_no_interval():
    row = board(training_frame(seeds=1, solvers=[TURBO], datasets=[DIGITS]))[TURBO]
    assert format_row(row, "steps_to_target")[:4] == ["60", TURBO, "n/a", "1 of 1"]
    assert format_row(row, "steps_to_target")[4] == "1.00 [0.0250, 1.00]"


def test_a_data_set_without_a_target_has_no_table():
    rows = training_frame(seeds=2, solvers=[TURBO], datasets=[DIGITS])
    rows["objective_target"] = np.nan
    rows["objective_steps_to_target"] = np.nan
    assert not has_target(rows, DIGITS, TRAINING)
    assert to_target(rows, DIGITS, TRAINING) == []
    assert "tell no target" in protocol([], [], "steps_to_target")
    assert to_target(rows.drop(columns="objective_target"), DIGITS, TRAINING) == []
