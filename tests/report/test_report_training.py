"""The report on rows of `benchmark_muon`: leaderboards, gaps, learning curves, time per step, routes, the command."""

import json

import numpy as np
import pandas as pd
import pytest
from made_up import (
    ADAMW,
    CHAIN,
    DIGITS,
    DOCS,
    EVALUATIONS,
    GAUSSIAN,
    HALVED,
    OWN_MUON,
    SGD,
    TARGET,
    TORCH_MUON,
    TRAINING,
    TURBO,
    fail,
    noise,
    root_frame,
    training_frame,
)
from scipy import stats

from orthobench.report import benchmarks, steps
from orthobench.report.command import main
from orthobench.report.curves import Trace
from orthobench.report.leaderboard import leaderboard, protocol
from orthobench.report.learning import learning_traces, scale
from orthobench.report.names import selected, short_names, short_solvers
from orthobench.report.page import metric_menu
from orthobench.report.routes import COLUMNS, format_route, parse, routes
from orthobench.report.routes import protocol as routes_protocol
from orthobench.report.separable import separable
from orthobench.report.statistics import gaps, median_interval, rank_with_ties

pytestmark = pytest.mark.usefixtures("wide_terminal")

ACCURACY = "objective_held_out_accuracy"


def last(rows, solver, column="held_out_loss", dataset=DIGITS):
    own = rows[(rows["solver_name"] == solver) & (rows["dataset_name"] == dataset) & (rows["stop_val"] == 100)]
    return own.set_index("idx_rep")[f"objective_{column}"]


def board(rows, metric, baseline="AdamW"):
    return {row.solver: row for row in leaderboard(rows, DIGITS, TRAINING, metric, baseline)}


# ----- benchmarks -----


def test_rows_are_recognised_by_their_first_metric():
    assert benchmarks.recognise(root_frame(seeds=1)) is benchmarks.BENCHMARKS["."]
    assert benchmarks.recognise(training_frame(seeds=1)) is benchmarks.BENCHMARKS["benchmark_muon"]
    nothing = training_frame(seeds=1).drop(columns="objective_held_out_loss")
    assert benchmarks.recognise(nothing) is benchmarks.BENCHMARKS["."]
    with pytest.raises(ValueError, match=r"several benchmarks \(\. and benchmark_muon\)"):
        benchmarks.recognise(pd.concat([root_frame(seeds=1), training_frame(seeds=1)]))


@pytest.mark.parametrize("benchmark", benchmarks.BENCHMARKS.values(), ids=lambda each: each.folder)
def test_every_metric_of_a_benchmark_is_described(benchmark):
    named = {*benchmark.leaderboards, *benchmark.claims, *benchmark.to_target}
    assert named <= set(benchmarks.METRICS)
    assert {benchmarks.METRICS[name].better for name in named} <= {"lower", "higher"}
    assert {benchmarks.METRICS[name].scale for name in named} <= {"log", "linear"}
    assert not set(benchmark.to_target) & set(benchmark.leaderboards)  # the mean of censored figures means nothing


def test_the_menu_falls_back_on_the_monitored_value():
    rows = training_frame(seeds=1)
    assert metric_menu(rows, ("held_out_loss", "nonsense")) == ["held_out_loss"]
    assert metric_menu(rows, ("nonsense",)) == ["value"]


# ----- names -----


def test_a_selector_means_what_benchopt_means_by_it():
    names = list(HALVED)
    assert selected(names, "AdamW") == [ADAMW]
    assert selected(names, "Turbo-Muon") == [OWN_MUON, TURBO]
    assert selected(names, "Turbo-Muon[orthogonaliser=turbo_muon]") == [TURBO]
    assert selected(names, "Turbo-Muon[orthogonaliser=turbo]") == []
    assert selected(names, "Muon") == []
    assert selected(["Muon", "Muon[steps=3]"], "Muon") == ["Muon"]


def test_short_names_of_solvers_select_them():
    names = [*HALVED, ADAMW.replace("0.01,", "0.003,")]
    short = short_solvers(names)
    assert short[TURBO] == "Turbo-Muon[orthogonaliser=turbo_muon]"
    assert short[SGD] == "SGD"
    assert short[ADAMW] == "AdamW[learning_rate=0.01]"
    assert all(selected(names, text) == [name] for name, text in short.items())
    assert short_solvers(["[steps=3]"]) == {"[steps=3]": "[steps=3]"}


def test_short_names_of_data_sets_keep_what_tells_them_apart():
    cnn, vit = "cifar10[network=cnn,steps=800]", "cifar10[network=vit,steps=800]"
    assert short_names([DIGITS, cnn, vit]) == {
        DIGITS: "digits",
        cnn: "cifar10[network=cnn]",
        vit: "cifar10[network=vit]",
    }


# ----- leaderboards -----


def test_a_higher_accuracy_is_better_in_order_and_ranks():
    rows = training_frame()
    found = leaderboard(rows, DIGITS, TRAINING, "held_out_accuracy", "AdamW")
    means = [row.mean for row in found]
    assert means == sorted(means, reverse=True)
    expected = rank_with_ties(pd.DataFrame({solver: -last(rows, solver, "held_out_accuracy") for solver in HALVED}))
    assert {row.solver: row.rank for row in found} == {solver: str(rank) for solver, rank in expected.items()}
    assert (found[-1].solver, found[-1].rank) == (SGD, "5")
    assert "held-out accuracy, higher is better" in protocol(found, "held_out_accuracy", "AdamW")


def test_the_difference_to_the_baseline_keeps_its_sign():
    rows = training_frame()
    row = board(rows, "held_out_accuracy")[SGD]
    expected = stats.ttest_rel(last(rows, SGD, "held_out_accuracy"), last(rows, ADAMW, "held_out_accuracy"))
    interval = expected.confidence_interval()
    assert (row.difference.low, row.difference.high) == pytest.approx((interval.low, interval.high))
    assert row.difference.difference < 0
    assert board(rows, "held_out_accuracy")[ADAMW].difference is None


def test_two_seeds_have_an_interval_and_no_separation():
    row = board(training_frame(seeds=2), "held_out_loss")[SGD]
    assert row.difference.n == 2
    assert np.isfinite([row.difference.low, row.difference.high]).all()
    assert np.isnan(row.difference.p)
    assert row.rank == "1-5"


@pytest.mark.parametrize("metric", benchmarks.BENCHMARKS["benchmark_muon"].leaderboards)
def test_every_metric_has_a_leaderboard_with_its_failures(metric):
    rows = board(fail(training_frame(seeds=3), TURBO, [1], "timeout"), metric)
    assert set(rows) == set(HALVED)
    assert (rows[TURBO].n, dict(rows[TURBO].failures)) == (2, {"timeout": 1})
    assert rows[TURBO].rank.endswith("†")


def test_what_is_censored_has_no_leaderboard():
    with pytest.raises(ValueError, match="no leaderboard of 'steps_to_target'; choose one of held_out_loss"):
        board(training_frame(seeds=1), "steps_to_target")


def test_accuracy_may_not_apply():
    rows = training_frame(seeds=3)
    rows[ACCURACY] = np.nan
    assert {row.rank for row in board(rows, "held_out_accuracy").values()} == {"n/a"}


# ----- gaps -----


def test_gaps_are_those_behind_the_ranks():
    table = pd.DataFrame(np.random.default_rng(0).normal([0, 0.3, 5], 1, size=(9, 3)), columns=["a", "b", "c"])
    found = {(gap.one, gap.other): gap for gap in gaps(table)}
    raw = {pair: stats.ttest_rel(table[pair[0]], table[pair[1]]).pvalue for pair in found}
    running = 0.0
    for place, pair in enumerate(sorted(raw, key=raw.get)):
        running = max(running, (3 - place) * raw[pair])
        assert found[pair].p == pytest.approx(min(1, running))
        assert found[pair].separated == (running <= 0.05)
    assert {pair for pair, gap in found.items() if gap.separated} == {("a", "c"), ("b", "c")}


def test_separable_gaps_are_named_with_the_better_solver_first():
    rows = training_frame(solvers=[SGD, ADAMW, TORCH_MUON, TURBO])
    told, tied = separable(rows, DIGITS, TRAINING, "held_out_loss")
    assert told.startswith("separable (paired t tests at 5 %, Holm-adjusted over all pairs): ")
    assert "AdamW < SGD (p = " in told
    assert "SGD < " not in told
    assert told.count("<") == 5
    assert tied.startswith("not separable: ")
    assert tied.count(" and ") == 1
    assert "Turbo-Muon" in tied
    accuracy, _ = separable(rows, DIGITS, TRAINING, "held_out_accuracy")
    assert "AdamW > SGD (p = " in accuracy


def test_gaps_that_were_not_tested_and_solvers_without_figures_are_named():
    few = separable(training_frame(seeds=7, solvers=[SGD, ADAMW]), DIGITS, TRAINING, "held_out_loss")
    assert few == ["not tested: every pair has fewer than 8 common seeds (n = 7)"]
    rows = training_frame(solvers=[SGD, ADAMW, TURBO])
    some = separable(fail(rows, TURBO, [0]), DIGITS, TRAINING, "held_out_loss")
    assert some[-1].startswith("not tested, for fewer than 8 common seeds: Turbo-Muon and ")
    assert "AdamW < SGD (p = " in some[0]
    failed = fail(training_frame(solvers=[SGD, ADAMW]), SGD, range(8))
    assert separable(failed, DIGITS, TRAINING, "held_out_loss")[-1] == "no figure: SGD"


# ----- learning curves -----


def traces(rows, metric="held_out_loss", against="steps", dataset=DIGITS):
    return learning_traces(rows, dataset, TRAINING, metric, against)


def test_the_curve_is_the_median_with_its_interval_from_step_0_on():
    rows = training_frame(seeds=10, solvers=[ADAMW])
    (curve,) = [trace for trace in traces(rows) if trace.kind == "curve"]
    own = rows[rows["dataset_name"] == DIGITS].groupby("stop_val")["objective_held_out_loss"]
    expected = [median_interval(values) for _, values in own]
    assert curve.x == list(EVALUATIONS)
    assert (curve.y, curve.y_low) == ([each.estimate for each in expected], [each.low for each in expected])
    assert (curve.solver, curve.label, curve.n) == (ADAMW, "AdamW", 10)
    (in_time,) = [trace for trace in traces(rows, against="time") if trace.kind == "curve"]
    assert in_time.x[0] == 0
    assert in_time.x == sorted(in_time.x)
    assert in_time.y == curve.y


def test_the_training_loss_has_no_point_before_the_first_step():
    (curve,) = [t for t in traces(training_frame(seeds=3, solvers=[ADAMW]), "train_loss") if t.kind == "curve"]
    assert curve.x == list(EVALUATIONS[1:])


def test_target_and_floor_are_lines_of_the_held_out_loss_alone():
    rows = training_frame(seeds=3, solvers=[ADAMW])

    def lines(*arguments, **options):
        return [trace for trace in traces(rows, *arguments, **options) if trace.solver is None]

    assert lines() == [Trace(None, "target: 0.300", "line", [0.0, 100.0], [TARGET] * 2, 0)]
    target, floor = lines(dataset=CHAIN)
    assert (target.label, floor.label) == ("target: 0.300 to 0.306, by seed", "floor: 0.100 to 0.102, by seed")
    assert floor.y == pytest.approx([0.101, 0.101])
    assert lines("held_out_accuracy") == lines("train_loss") == []


def test_a_failed_cell_is_a_cross_where_it_ended():
    rows = fail(training_frame(seeds=3, solvers=[ADAMW]), ADAMW, [1])
    (cross,) = [trace for trace in traces(rows) if trace.kind == "failed"]
    own = rows[(rows["idx_rep"] == 1) & (rows["dataset_name"] == DIGITS) & (rows["stop_val"] == 80)]
    assert (cross.label, cross.x) == ("AdamW: diverged, 1 of 3 seeds", [100.0])
    assert cross.y == own["objective_held_out_loss"].tolist()  # the last value that was reached


def test_a_cell_without_a_value_is_at_the_worst_edge():
    rows = training_frame(seeds=2, solvers=[ADAMW, SGD], datasets=[DIGITS])
    rows = rows[(rows["solver_name"] == ADAMW) | (rows["stop_val"] == 0)]
    rows = fail(rows, SGD, [0, 1], "error")
    for metric, side, edge in (("held_out_loss", "top", max), ("held_out_accuracy", "bottom", min)):
        crosses = [trace for trace in traces(rows, metric) if trace.kind == "failed"]
        assert {cross.label for cross in crosses} == {f"SGD: error, 2 of 2 seeds (no value: drawn at the {side})"}
        assert {cross.y[0] for cross in crosses} == {edge(rows[f"objective_{metric}"].dropna())}
        assert {cross.x[0] for cross in crosses} == {0.0}


def test_axes_start_at_zero_and_only_losses_are_logarithmic():
    assert [scale(metric) for metric in ("held_out_loss", "train_loss", "held_out_accuracy")] == [
        "semilog-y",
        "semilog-y",
        "linear",
    ]


# ----- time per step -----


def test_the_parts_of_a_step_add_up():
    rows = training_frame(
        seeds=9, solvers=[ADAMW, TURBO], time=lambda s, d, seed: (8 if s == TURBO else 5) * noise(s, seed)
    )
    adamw, turbo = steps.step_times(rows, DIGITS, TRAINING)
    assert (adamw.solver, turbo.solver) == (ADAMW, TURBO)
    expected = last(rows, TURBO, "step_time_ms")
    assert turbo.step.estimate == pytest.approx(expected.mean())
    assert turbo.parts["backward"].estimate == pytest.approx(0.4 * expected.mean())
    whole = sum(part.estimate for part in turbo.parts.values()) + turbo.other.estimate
    assert whole == pytest.approx(turbo.step.estimate)
    assert turbo.other.estimate == pytest.approx(0.05 * expected.mean())
    # What the metric says, in one meaning: of the four parts, not of the whole step.
    assert turbo.share.estimate == pytest.approx(last(rows, TURBO, "optimizer_share").mean())
    assert turbo.share.estimate == pytest.approx(0.15 / 0.95)
    half = stats.t.ppf(0.975, 8) * expected.std() / 3
    assert (turbo.step.low, turbo.step.high) == pytest.approx((expected.mean() - half, expected.mean() + half))


def test_missing_parts_and_failures_leave_gaps_and_no_zeros():
    rows = training_frame(seeds=3, solvers=[ADAMW, TURBO])
    rows = fail(rows, TURBO, range(3), "out_of_memory")
    adamw, turbo = steps.step_times(rows.drop(columns="objective_data_time_ms"), DIGITS, TRAINING)
    assert (adamw.parts["data"], adamw.other) == (None, None)
    assert adamw.parts["forward"].n == 3
    texts = steps.format_row(turbo)
    assert len(texts) == len(steps.COLUMNS)
    assert texts == ["n/a", TURBO, "0", *["n/a"] * 7, "3 out of memory"]
    assert steps.step_times(rows.drop(columns="objective_step_time_ms"), DIGITS, TRAINING) == []


# ----- routes -----


def test_routes_are_what_the_rows_tell():
    rows = fail(training_frame(seeds=3, solvers=[SGD, TURBO]), TURBO, [0])
    found = routes(rows, DIGITS, TRAINING)
    assert [(each.solver, each.optimizer, each.parameters, each.total, each.n) for each in found] == [
        (SGD, "SGD", 5000, 5000, 3),
        (TURBO, "AdamW", 1000, 5000, 3),
        (TURBO, "TurboMuon", 4000, 5000, 3),
    ]
    assert format_route(found[2]) == [TURBO, "TurboMuon", "4000", "80.0 %", "3"]
    assert len(format_route(found[0])) == len(COLUMNS)


def test_seeds_that_disagree_about_routes_are_shown_apart():
    rows = training_frame(seeds=3, solvers=[SGD], datasets=[DIGITS])
    rows.loc[rows["idx_rep"] == 2, "objective_parameters_by_route"] = json.dumps({"SGD": 7})
    assert [(each.parameters, each.n) for each in routes(rows, DIGITS, TRAINING)] == [(7, 1), (5000, 2)]


@pytest.mark.parametrize(
    "text", ["", "{", "3", "null", '["SGD"]', '{"SGD": 1.5}', '{"SGD": -1}', '{"SGD": true}', None, np.nan]
)
def test_text_that_describes_no_routes_is_left_out(text):
    assert parse(text) == {}
    rows = training_frame(seeds=1, solvers=[SGD], datasets=[DIGITS])
    rows["objective_parameters_by_route"] = text
    assert routes(rows, DIGITS, TRAINING) == []
    assert "no row tells" in routes_protocol([])


def test_a_model_without_parameters_has_no_share():
    rows = training_frame(seeds=1, solvers=[SGD], datasets=[DIGITS])
    rows["objective_parameters_by_route"] = '{"SGD": 0}'
    (route,) = routes(rows, DIGITS, TRAINING)
    assert format_route(route)[3] == "n/a"


# ----- the command -----


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "run.parquet"
    fail(training_frame(datasets=[DIGITS, DOCS]), TURBO, [1]).to_parquet(path)
    return path


def test_the_command_prints_leaderboard_target_and_gaps(parquet, capsys):
    assert main([str(parquet)]) == 0
    printed = capsys.readouterr().out
    places = [
        printed.index(text)
        for text in (
            f"{TRAINING} | {DIGITS}",
            "held-out loss (nats), lower is better",
            "steps to the target, the first of two",
            "\nseparable (",
            "\nnot separable: ",
            f"{TRAINING} | {DOCS}",
        )
    ]
    assert places == sorted(places)
    assert "difference to AdamW[learning_rate=0.01,weight_decay=0.01] paired by seed" in printed
    assert f"! {short_solvers(list(HALVED))[TURBO]}: made to fail" in printed


def test_the_metrics_of_the_benchmark_can_be_chosen(parquet, capsys):
    assert main([str(parquet), "--metric", "held_out_accuracy", "--baseline", "SGD"]) == 0
    printed = capsys.readouterr().out
    assert "held-out accuracy, higher is better" in printed
    assert "difference to SGD" in printed
    assert " > SGD (p = " in printed
    assert "Kaplan-Meier" not in printed
    assert main([str(parquet), "--metric", "time_to_target_s"]) == 0
    printed = capsys.readouterr().out
    assert "training time to the target (s)" in printed
    assert "Kaplan-Meier" in printed
    assert "Holm" not in printed


def test_the_metrics_of_another_benchmark_are_refused_with_what_there_is(parquet, tmp_path, capsys):
    assert main([str(parquet), "--metric", "relative_error"]) == 2
    assert (
        "no leaderboard of 'relative_error'; choose one of held_out_loss, held_out_accuracy" in capsys.readouterr().err
    )
    root = tmp_path / "root.parquet"
    root_frame(seeds=1, datasets=[GAUSSIAN]).to_parquet(root)
    assert main([str(root), "--metric", "held_out_loss"]) == 2
    assert "choose one of relative_error, " in capsys.readouterr().err


def test_rows_of_two_benchmarks_in_one_file_are_refused(tmp_path, capsys):
    path = tmp_path / "both.parquet"
    pd.concat([root_frame(seeds=1), training_frame(seeds=1)]).to_parquet(path)
    assert main([str(path)]) == 1
    assert "rows of several benchmarks" in capsys.readouterr().err


def test_a_column_that_disagrees_is_an_error_of_the_command(parquet, capsys):
    rows = pd.read_parquet(parquet)
    rows.loc[(rows["solver_name"] == ADAMW) & (rows["stop_val"] == 100), "objective_steps_to_target"] = 20.0
    rows.to_parquet(parquet)
    assert main([str(parquet)]) == 1
    assert "the curve of held_out_loss says" in capsys.readouterr().err


def test_escape_sequences_of_names_do_not_reach_the_terminal(tmp_path, capsys):
    path = tmp_path / "run.parquet"
    rows = training_frame(seeds=2, solvers=[SGD, ADAMW], datasets=[DIGITS])
    for column in ("solver_name", "dataset_name", "objective_name"):
        rows[column] = rows[column] + "\x1b[2J"
    rows.to_parquet(path)
    assert main([str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out
