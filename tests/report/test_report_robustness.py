"""The report on rows of `benchmark_lipschitz`: which metric is shown, the figures, the command, the claims."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import (
    AOC,
    BCOP,
    CAYLEY,
    COOL,
    LARGER_BATCH,
    LAYERS_COMPARED,
    ONE_CLASS,
    PLAIN,
    QUALITY,
    RADII,
    ROBUSTNESS,
    SHAPES,
    WARM,
    fail,
    robustness_frame,
    training_frame,
)

from orthobench.report import benchmarks, medians, robustness
from orthobench.report.claims import check_claims, load_claims
from orthobench.report.command import main
from orthobench.report.curves import Trace
from orthobench.report.leaderboard import leaderboard
from orthobench.report.reports import find_claims
from orthobench.report.statistics import median_interval
from orthobench.report.sweep import choices

pytestmark = pytest.mark.usefixtures("wide_terminal")

ROOT = Path(__file__).parents[2]
REAL = ROOT / "benchmark_lipschitz" / "claims.toml"


def last(rows, solver, column, dataset=SHAPES, objective=ROBUSTNESS):
    """Last values of a solver, by seed."""
    own = rows[(rows["solver_name"] == solver) & (rows["stop_val"] == 120) & (rows["dataset_name"] == dataset)]
    return own[own["objective_name"] == objective].set_index("idx_rep")[f"objective_{column}"]


def of_kind(traces, kind, solver=None):
    return [trace for trace in traces if trace.kind == kind and solver in (None, trace.solver)]


# ----- which metric -----


def test_rows_are_recognised_by_their_first_metric():
    assert benchmarks.recognise(robustness_frame(seeds=1)) is benchmarks.BENCHMARKS["benchmark_lipschitz"]
    with pytest.raises(ValueError, match=r"several benchmarks \(benchmark_lipschitz and benchmark_muon\)"):
        benchmarks.recognise(pd.concat([training_frame(seeds=1), robustness_frame(seeds=1)]))


def test_the_metric_that_is_shown_is_one_that_applies_to_the_task():
    shown = benchmarks.BENCHMARKS["benchmark_lipschitz"].metric_for
    assert shown({"task": "classification", "part": "tuning"}) == "certified_accuracy_36"
    assert shown({}) == "certified_accuracy_36"
    assert shown({"task": "one_class"}) == "certified_auroc_36"
    assert benchmarks.BENCHMARKS["benchmark_muon"].metric_for({"part": "tuning"}) == "held_out_loss"


CLASSIFIED = [
    each
    for each in benchmarks.BENCHMARKS["benchmark_lipschitz"].leaderboards
    if benchmarks.BENCHMARKS["benchmark_lipschitz"].evidence_for(each)["task"] != ("explanation",)
]


@pytest.mark.parametrize("metric", CLASSIFIED)
def test_every_metric_has_a_leaderboard(metric):
    rows = fail(robustness_frame(seeds=3), BCOP, [1], "refuted")
    board = {row.solver: row for row in leaderboard(rows, SHAPES, ROBUSTNESS, metric, "Cayley")}
    assert set(board) == set(LAYERS_COMPARED)
    assert dict(board[BCOP].failures) == {"refuted": 1}
    assert (board[CAYLEY].rank == "n/a") == ("auroc" in metric)


# ----- certified accuracy against radius -----


def test_the_curve_goes_through_the_medians_at_each_radius():
    rows = robustness_frame()
    traces = robustness.robustness_traces(rows, SHAPES, ROBUSTNESS)
    (curve,) = of_kind(traces, "curve", CAYLEY)
    assert curve.x == [0.0, *map(float, RADII)]
    for place, column in enumerate(["accuracy", *(f"certified_accuracy_{radius}" for radius in RADII)]):
        expected = median_interval(last(rows, CAYLEY, column))
        assert (curve.y[place], curve.y_low[place], curve.y_high[place]) == (
            expected.estimate,
            expected.low,
            expected.high,
        )
    assert (curve.label, curve.n) == ("Cayley", 8)
    (star,) = of_kind(traces, "attacked", CAYLEY)
    assert (star.x, star.y) == ([36], [last(rows, CAYLEY, "attacked_accuracy").median()])
    assert star.y[0] >= curve.y[1]


def test_one_class_has_its_auroc_and_no_attack():
    rows = robustness_frame(objectives=[ROBUSTNESS, ONE_CLASS])
    traces = robustness.robustness_traces(rows, SHAPES, ONE_CLASS)
    (curve,) = of_kind(traces, "curve", AOC)
    expected = [last(rows, AOC, f"certified_auroc_{radius}", objective=ONE_CLASS).median() for radius in (0, *RADII)]
    assert curve.y == expected
    assert not of_kind(traces, "attacked")
    assert robustness.ylabel(ONE_CLASS) == "certified AUROC (higher is better)"
    assert robustness.ylabel(ROBUSTNESS) == "certified accuracy (higher is better)"


def test_a_refuted_cell_is_a_cross_and_no_part_of_a_curve():
    rows = fail(robustness_frame(seeds=3), PLAIN, range(3), "refuted")
    rows = fail(rows, AOC, [2], "timeout")
    traces = robustness.robustness_traces(rows, SHAPES, ROBUSTNESS)
    assert {trace.label for trace in of_kind(traces, "failed")} == {
        "Plain: 3 refuted of 3 seeds (drawn in the corner)",
        "AOC: 1 timeout of 3 seeds (drawn in the corner)",
    }
    assert not of_kind(traces, "curve", PLAIN)
    (curve,) = of_kind(traces, "curve", AOC)
    assert curve.n == 2


def test_a_single_seed_has_no_band():
    traces = robustness.robustness_traces(robustness_frame(seeds=1), SHAPES, ROBUSTNESS)
    assert all(trace.y_low is None for trace in traces)
    assert not of_kind(traces, "line")


# ----- loss and cost -----


def test_solvers_that_differ_in_their_loss_alone_are_joined():
    rows = robustness_frame(solvers=(CAYLEY, COOL, WARM, BCOP))
    traces = medians.point_traces(rows, SHAPES, ROBUSTNESS, "accuracy", "certified_accuracy_36", joined=True)
    (line,) = [trace for trace in traces if "loss varies" in trace.label]
    assert line.x == sorted(line.x)
    at = {solver: (trace.x[0], trace.y[0]) for solver in QUALITY for trace in of_kind(traces, "curve", solver)}
    assert list(zip(line.x, line.y, strict=True)) == [at[WARM], at[CAYLEY], at[COOL]]
    for solver, point in at.items():
        expected = (last(rows, solver, column).median() for column in ("accuracy", "certified_accuracy_36"))
        assert point == tuple(expected)
    labels = {trace.label for trace in of_kind(traces, "curve")}
    assert labels == {"BCOP", *(f"Cayley[temperature={t}]" for t in (0.25, 0.0625, 4))}
    apart = medians.point_traces(rows, SHAPES, ROBUSTNESS, "accuracy", "certified_accuracy_36")
    assert not any("loss varies" in trace.label for trace in apart)


def test_each_point_has_a_bar_along_both_axes():
    rows = robustness_frame(solvers=[CAYLEY])
    bars = of_kind(medians.point_traces(rows, SHAPES, ROBUSTNESS, "step_time_ms", "certified_accuracy_36"), "line")
    across = median_interval(last(rows, CAYLEY, "step_time_ms"))
    up = median_interval(last(rows, CAYLEY, "certified_accuracy_36"))
    assert [(bar.x, bar.y) for bar in bars] == [
        ([across.estimate] * 2, [up.low, up.high]),
        ([across.low, across.high], [up.estimate] * 2),
    ]


def test_a_solver_without_one_of_the_two_figures_has_no_point():
    rows = robustness_frame(seeds=2)
    rows.loc[rows["solver_name"] == AOC, "objective_inference_time_ms"] = np.nan
    traces = medians.point_traces(rows, SHAPES, ROBUSTNESS, "inference_time_ms", "certified_accuracy_36")
    assert {trace.solver for trace in traces} == {PLAIN, CAYLEY, BCOP}
    missing = rows.drop(columns="objective_inference_time_ms")
    assert medians.point_traces(missing, SHAPES, ROBUSTNESS, "inference_time_ms", "certified_accuracy_36") == []


# ----- overhead -----


def test_the_overhead_is_the_median_ratio_over_common_seeds():
    rows = robustness_frame(datasets=[SHAPES, LARGER_BATCH])
    rows = rows[(rows["solver_name"] != AOC) | (rows["idx_rep"] > 1)]
    (name,) = robustness.overhead_menu(rows).values()
    traces = robustness.overhead_traces(rows, name, ROBUSTNESS)
    (curve,) = of_kind(traces, "curve", AOC)
    assert curve.x == [64.0, 256.0]
    for place, dataset in enumerate([SHAPES, LARGER_BATCH]):
        ratios = last(rows, AOC, "step_time_ms", dataset) / last(rows, PLAIN, "step_time_ms", dataset)
        expected = median_interval(ratios.dropna())
        assert (curve.y[place], curve.y_low[place], curve.y_high[place]) == pytest.approx(
            (expected.estimate, expected.low, expected.high)
        )
    assert curve.n == 6
    assert not of_kind(traces, "curve", PLAIN)
    (one,) = of_kind(traces, "line")
    assert one == Trace(None, "Plain: 1", "line", [64.0, 256.0], [1.0, 1.0], 0)


def test_without_plain_rows_there_is_no_overhead():
    rows = robustness_frame(solvers=(CAYLEY, AOC))
    (name,) = robustness.overhead_menu(rows).values()
    assert robustness.overhead_traces(rows, name, ROBUSTNESS) == []


def test_the_menu_starts_with_the_data_set_of_most_batch_sizes():
    other = "mnist[batch_size=64,width=16]"
    rows = robustness_frame(seeds=1, datasets=[other, SHAPES, LARGER_BATCH])
    assert list(robustness.overhead_menu(rows)) == [SHAPES.replace("batch_size=64,", ""), "mnist[width=16]"]


# ----- the command -----


@pytest.fixture
def result(tmp_path):
    def result(rows):
        path = tmp_path / "run.parquet"
        rows.to_parquet(path)
        return str(path)

    return result


def test_the_command_prints_the_leaderboard_of_each_task(result, capsys):
    rows = robustness_frame(seeds=2, objectives=[ROBUSTNESS, ONE_CLASS])
    assert main([result(rows)]) == 0
    first, second = capsys.readouterr().out.split("\n\n\n")
    assert "certified accuracy at 36/255, higher is better" in first
    assert "difference to Cayley[" in first
    assert "certified AUROC at 36/255, higher is better" in second
    assert "n/a  " not in second.split("difference, interval")[0]
    assert find_claims(ROOT / "outputs" / "run.parquet", benchmarks.BENCHMARKS["benchmark_lipschitz"]) == REAL


def test_learning_rates_are_chosen_by_the_error_at_the_headline_radius(result, capsys):
    rates = {rate: CAYLEY.replace("learning_rate=0.05", f"learning_rate={rate}") for rate in (0.01, 0.05, 0.2)}
    quality = {solver: (0.05, 0.6 if rate == 0.05 else 0.9, 40.0) for rate, solver in rates.items()}
    tuning = ROBUSTNESS.replace("held_out", "tuning")
    rows = robustness_frame(quality, solvers=rates.values(), seeds=2)
    rows["objective_name"] = tuning
    assert list(choices(rows).values()) == [0.05]
    assert main([result(rows), "--learning-rates"]) == 0
    shown = capsys.readouterr().out
    assert "log(mean error at the end)" in shown
    assert "error on digits" in shown
    assert "loss on" not in shown


# ----- claims -----


def test_the_real_claims_use_the_names_listed_in_their_file():
    claims = load_claims(REAL)
    solvers = tomllib.loads(REAL.read_text())["solvers"]
    assert {claim.query.benchmark for claim in claims} == {"benchmark_lipschitz"}
    assert {name for claim in claims for name in (claim.query.solver, claim.query.baseline)} == set(solvers)
    assert len({claim.id for claim in claims}) == len(claims)


HEAD = """benchmark = "benchmark_lipschitz"
solvers = ["Cayley", "BCOP"]
[[claim]]
id = "a-claim"
method = "Cayley"
text = "Better."
source = { paper = "A paper", arxiv = "2104.07167", where = "abstract" }
[claim.query]
datasets = ["digits*"]
solver = "Cayley"
baseline = "BCOP"
direction = "higher"
"""


@pytest.mark.parametrize(("metric", "n"), [("certified_accuracy_36", 8), ("certified_auroc_36", 8)])
def test_a_claim_is_checked_on_the_task_that_its_metric_is_of(tmp_path, metric, n):
    path = tmp_path / "claims.toml"
    path.write_text(f'{HEAD}metric = "{metric}"\n')
    rows = robustness_frame(objectives=[ROBUSTNESS, ONE_CLASS])
    (verdict,) = check_claims(rows, load_claims(path))
    assert verdict.verdict == "reproduced"
    assert [(check.n, check.setting) for check in verdict.checks] == [(n, "")]
    other = robustness_frame(objectives=[ROBUSTNESS if metric.startswith("certified_auroc") else ONE_CLASS])
    (verdict,) = check_claims(other, load_claims(path))
    assert (verdict.verdict, verdict.reason) == ("not run here", "no rows of digits*")
