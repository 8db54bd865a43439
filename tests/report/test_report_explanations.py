"""The report on rows of explanations: no board, rank or profile mixes tasks; the figures, the pictures, the claims."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from benchopt.plotting.helpers import reset_solver_styles, update_plot_data_style
from made_up import CAYLEY, ONE_CLASS, ROBUSTNESS, SHAPES, fail, robustness_frame
from made_up_explanations import (
    BALANCED,
    BENCHMARK,
    BLOCKS,
    CROSS_ENTROPY,
    DIGITS,
    EXPLANATION,
    FASHION,
    HKR,
    METRICS,
    PLAIN,
    SHARES,
    SOFT,
    SOLVERS,
    explanations_frame,
)
from test_report_plots import HOSTILE, ROOT, hostile_frame, plot_classes
from test_report_training_plots import assert_plain

from orthobench.report import benchmarks, explanations, robustness
from orthobench.report.claims import check_claims, load_claims
from orthobench.report.command import main
from orthobench.report.leaderboard import leaderboard
from orthobench.report.plausible import implausible
from orthobench.report.site.boards import boards_of, overview_table
from orthobench.report.site.results import File, Result
from orthobench.report.statistics import median_interval

FOLDER = ROOT / "benchmark_lipschitz"
REAL = FOLDER / "claims.toml"
PLOTS = {name: plot for name, plot in plot_classes(FOLDER / "plots").items()}
OWN = ("maps", "counterfactuals", "removal", "saturation")


@pytest.fixture(autouse=True)
def _same_styles_in_every_test():
    reset_solver_styles()


def last(rows, solver, column):
    own = rows[(rows["solver_name"] == solver) & (rows["stop_val"] == 80)]
    return own.set_index("idx_rep")[f"objective_{column}"]


def of_kind(traces, kind, solver=None):
    return [trace for trace in traces if trace.kind == kind and solver in (None, trace.solver)]


def both_tasks(**options):
    classified = robustness_frame(objectives=[ROBUSTNESS, ONE_CLASS], **options)
    return pd.concat([classified, explanations_frame(**options)], ignore_index=True)


# ----- tasks -----


def test_rows_are_recognised_possible_and_on_a_board_of_each_metric():
    rows = fail(explanations_frame(seeds=3, datasets=(DIGITS, BLOCKS)), SOFT, [1], "refuted")
    assert benchmarks.recognise(rows) is BENCHMARK
    assert implausible(rows, BENCHMARK) == []
    for metric in METRICS:
        board = {each.solver: each for each in leaderboard(rows, DIGITS, EXPLANATION, metric, BENCHMARK.baseline)}
        assert set(board) == set(SOLVERS)
        assert dict(board[SOFT].failures) == {"refuted": 1}
        assert (board[HKR].rank == "n/a") == (metric == "block_share_10")


def test_each_task_has_its_own_first_metric_and_an_unknown_one_is_an_error():
    shown = BENCHMARK.metric_for
    assert shown({"task": "explanation", "part": "tuning"}) == "mu_fidelity_uniform_saliency"
    assert shown({"task": "classification"}) == "certified_accuracy_36"
    assert shown({"task": "one_class"}) == "certified_auroc_36"
    told = "task=something is unknown: benchmark.toml has classification, one_class, explanation"
    with pytest.raises(ValueError, match=told):
        shown({"task": "something"})
    unknown = EXPLANATION.replace("explanation", "something")
    for text in (robustness.ylabel, robustness.headline, robustness.clean):
        with pytest.raises(ValueError, match=told):
            text(unknown)
    rows = robustness_frame(seeds=1).assign(objective_name=unknown)
    with pytest.raises(ValueError, match=told):
        robustness.robustness_traces(rows, SHAPES, unknown)
    for name in ("accuracy_robustness", "certified_by_radius", "cost", *OWN):
        ((_, shown),) = list(PLOTS[name]()._get_all_plots(rows)[0].items())[:1]
        assert shown["data"] == []
        assert shown["title"].startswith("error: task=something is unknown") or shown["type"] == "image"


def test_a_file_with_an_unknown_task_is_an_error_of_the_command(tmp_path, capsys):
    rows = explanations_frame(seeds=1)
    rows["objective_name"] = EXPLANATION.replace("explanation", "something")
    rows.to_parquet(tmp_path / "run.parquet")
    assert main([str(tmp_path / "run.parquet")]) == 1
    assert "task=something is unknown" in capsys.readouterr().err


def test_no_board_and_no_rank_mixes_tasks():
    rows = both_tasks(seeds=2)
    rows = pd.concat([rows, explanations_frame(seeds=2, datasets=(BLOCKS,))], ignore_index=True)
    rows = pd.concat([rows, robustness_frame(seeds=2, datasets=(SHAPES.replace("64", "32"),))], ignore_index=True)
    result = Result(BENCHMARK, "here", (File(ROOT / "run.parquet", rows),), rows)
    boards = boards_of(result)
    firsts = {each.setting.objective: each.first for each in boards}
    assert firsts == {
        ROBUSTNESS: "certified_accuracy_36",
        ONE_CLASS: "certified_auroc_36",
        EXPLANATION: "mu_fidelity_uniform_saliency",
    }
    for board in boards:
        of_task = set(rows.loc[rows["objective_name"] == board.setting.objective, "solver_name"])
        for own in board.rows.values():
            assert {row.solver for row in own} <= of_task
        assert ("saturation" in board.metrics) == (board.setting.objective == EXPLANATION)
    tables = overview_table(result, boards, "ranks", lambda solver: "", lambda board: "")
    assert [len(table.columns) - 1 for table in tables] == [2, 1, 2]


# ----- figures -----


def test_a_curve_is_the_median_over_seeds_and_random_orders_are_dashed():
    rows = explanations_frame()
    for curve, ends in (("deletion", (1.0, 0.0)), ("insertion", (0.0, 1.0))):
        traces = explanations.removal_traces(rows, DIGITS, EXPLANATION, curve, "saliency")
        (own,), (random,) = of_kind(traces, "curve", HKR), of_kind(traces, "dashed", HKR)
        assert own.x == random.x == list(SHARES)
        assert (own.y[0], own.y[-1]) == ends
        assert own.y[1] == pytest.approx(0.275 if curve == "deletion" else 0.725)
        assert random.y[1] == pytest.approx(0.6 if curve == "deletion" else 0.4)
        assert own.label.startswith("Cayley[alpha=0.833,loss=hkr")
        assert (random.label, own.n) == (f"{own.label}: random order", 8)
        assert own.y_low is not None
        assert len(traces) == 2 * len(SOLVERS)
    assert explanations.removal_traces(rows, DIGITS, EXPLANATION, "deletion", "integrated") == [
        trace for trace in explanations.removal_traces(rows, DIGITS, EXPLANATION, "deletion", "saliency")
        if trace.kind == "dashed"
    ]  # fmt: skip


def test_failed_cells_are_crosses_and_no_part_of_a_curve():
    rows = fail(fail(explanations_frame(seeds=3), PLAIN, range(3), "refuted"), HKR, [2], "timeout")
    traces = explanations.removal_traces(rows, DIGITS, EXPLANATION, "deletion", "saliency")
    assert {trace.kind for trace in traces if trace.solver == PLAIN} == {"failed"}
    assert [trace.n for trace in of_kind(traces, "curve", HKR)] == [2]
    assert len(of_kind(traces, "failed")) == 2


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", HOSTILE, "[1]", "{}", '{"shares": [0, 1]}', '{"shares": [0], "deletion": {"saliency": [0, 1]}}',
     '{"shares": [0, "x"], "deletion": {"saliency": [0, 1]}}', '{"shares": 0, "deletion": {"saliency": 1}}',
     '{"shares": [0, 1], "deletion": {"saliency": [NaN, 1]}}', '{"shares": [0, 1], "deletion": [1]}', None, 1.0],
)  # fmt: skip
def test_what_is_no_curve_is_left_out(text):
    rows = explanations_frame(seeds=2)
    rows["objective_removal_curves"] = rows["objective_removal_curves"].astype(object)
    own = (rows["solver_name"] == HKR) & (rows["idx_rep"] == 0)
    rows.loc[own, "objective_removal_curves"] = text
    traces = explanations.removal_traces(rows, DIGITS, EXPLANATION, "deletion", "saliency")
    assert [trace.n for trace in of_kind(traces, "curve", HKR)] == [1]
    rows.loc[rows["solver_name"] == HKR, "objective_removal_curves"] = text
    traces = explanations.removal_traces(rows, DIGITS, EXPLANATION, "deletion", "saliency")
    assert not of_kind(traces, "curve", HKR)


def test_saturation_is_drawn_against_what_is_certified():
    rows = explanations_frame()
    traces = explanations.saturation_traces(rows, DIGITS, EXPLANATION)
    (point,) = of_kind(traces, "curve", SOFT)
    expected = [median_interval(last(rows, SOFT, name)).estimate for name in ("saturation", "certified_accuracy_36")]
    assert [point.x[0], point.y[0]] == expected


def test_pictures_are_those_of_the_first_repetition():
    rows = explanations_frame(seeds=2)
    rows.loc[rows["solver_name"] == PLAIN, "objective_maps_picture"] = HOSTILE
    found = {each["label"]: each for each in explanations.maps(rows, DIGITS, EXPLANATION)}
    (label,) = (each for each in found if "loss=hkr" in each)
    assert found[label]["alt"].startswith(f"{label}: the image, and its maps by saliency")
    assert found["Plain, no picture"]["alt"] == ""
    shown = explanations.counterfactuals(rows, DIGITS, EXPLANATION)
    assert all("two of Newton’s steps" in each["alt"] for each in shown)  # noqa: RUF001
    assert len(shown) == len(SOLVERS)


def test_of_other_tasks_there_is_nothing_to_show():
    rows = both_tasks(seeds=1)
    for task in (ROBUSTNESS, ONE_CLASS):
        assert explanations.maps(rows, SHAPES, task) == explanations.counterfactuals(rows, SHAPES, task) == []
        assert explanations.removal_traces(rows, SHAPES, task, "deletion", "saliency") == []
        assert explanations.saturation_traces(rows, SHAPES, task) == []
    assert list(explanations.objectives(rows).values()) == [EXPLANATION]
    assert list(explanations.objectives(robustness_frame(seeds=1)).values()) == [ROBUSTNESS]


def test_certified_accuracy_against_radius_is_that_of_the_explained_networks():
    rows = explanations_frame()
    traces = robustness.robustness_traces(rows, DIGITS, EXPLANATION)
    (curve,) = of_kind(traces, "curve", HKR)
    assert curve.y[0] == median_interval(last(rows, HKR, "accuracy")).estimate
    assert not of_kind(traces, "attacked")


FRAMES = {
    "ordinary": explanations_frame(seeds=3, datasets=(DIGITS, BLOCKS)),
    "all tasks": both_tasks(seeds=2),
    "failures": fail(fail(explanations_frame(seeds=3), HKR, range(3), "timeout"), PLAIN, [1], "diverged"),
    "one point": explanations_frame(seeds=2)[lambda rows: rows["stop_val"] == 0],
    "no texts": explanations_frame(seeds=2).drop(
        columns=["objective_removal_curves", "objective_maps_picture", "objective_counterfactuals_picture"]
    ),
    "hostile text": hostile_frame(explanations_frame(seeds=2)),
}


@pytest.mark.parametrize("rows", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("name", PLOTS)
def test_plots_give_plain_json_for_any_frame(name, rows):
    plot = PLOTS[name]()
    plot._check()
    data, menus = plot._get_all_plots(rows)
    assert len(data) == math.prod(map(len, menus.values())) >= 1
    styled = update_plot_data_style({name: data})
    assert_plain(styled)
    told = json.dumps(styled, allow_nan=False)
    assert not set("<>&") & set(told.replace("<br />", ""))


@pytest.mark.parametrize("name", OWN)
def test_plots_show_something_of_explanations_and_nothing_of_other_tasks(name):
    data, _ = PLOTS[name]()._get_all_plots(FRAMES["all tasks"])
    shown = {key for key, each in data.items() if each["data"]}
    assert shown
    assert all("task=explanation" in key for key in shown)
    data, _ = PLOTS[name]()._get_all_plots(robustness_frame(seeds=1))
    assert not any(each["data"] for each in data.values())


# ----- claims -----


def verdicts(rows):
    claims = [claim for claim in load_claims(REAL) if claim.id.startswith("xai-")]
    assert len(claims) >= 10
    return {each.claim.id: each for each in check_claims(rows, claims)}


def test_the_claims_are_judged_on_rows_of_explanations():
    found = verdicts(explanations_frame(datasets=(DIGITS, BLOCKS, FASHION)))
    assert {name for name, each in found.items() if each.verdict == "not run here"} == set()
    for name in ("xai-mu-fidelity-uniform", "xai-stability", "xai-tight", "xai-block", "xai-soft-hkr-accuracy"):
        assert found[name].verdict == "reproduced", found[name].reason
        assert found[name].small
    assert {check.dataset for check in found["xai-block"].checks} == {BLOCKS}
    assert {check.dataset for check in found["xai-accuracy"].checks} == {FASHION}


def test_claims_that_are_false_are_not_reproduced():
    worse = {HKR: (0.1, 0.9), BALANCED: (0.02, 0.4), SOFT: (0.2, 0.4), CROSS_ENTROPY: (0.1, 0.3), PLAIN: (0.05, 0.3)}
    found = verdicts(explanations_frame(datasets=(DIGITS, BLOCKS, FASHION), quality=worse))
    for name in ("xai-mu-fidelity-uniform", "xai-loss-matters", "xai-accuracy", "xai-soft-hkr-accuracy"):
        assert found[name].verdict == "not reproduced", found[name].reason


def test_accuracy_of_classification_says_nothing_of_explained_networks_and_the_other_way_round():
    rows = explanations_frame(datasets=(FASHION,)).assign(objective_name=ROBUSTNESS)
    assert verdicts(rows)["xai-accuracy"].verdict == "not run here"
    rows = rows.assign(objective_name="Robustness[part=held_out]")
    assert verdicts(rows)["xai-accuracy"].verdict == "not run here"
    classified = [claim for claim in load_claims(REAL) if claim.id == "lipschitz-as-accurate"]
    (verdict,) = check_claims(explanations_frame(), classified)
    assert (verdict.verdict, verdict.checks) == ("not run here", ())


def test_a_task_that_a_claim_names_must_exist(tmp_path):
    text = REAL.read_text().replace('task = "explanation"', 'task = "regression"')
    (tmp_path / "claims.toml").write_text(text)
    with pytest.raises(ValueError, match=r"'query\.task' is 'regression'; allowed: classification, one_class, explana"):
        load_claims(tmp_path / "claims.toml")


def test_second_hand_figures_say_so():
    quoted = [each for each in load_claims(REAL) if each.id.startswith("xai-") and any(map(str.isdigit, each.text))]
    for claim in quoted:
        if " against " in claim.text or "%" in claim.text:
            assert "third-party summary" in claim.where or "corollary" in claim.where, claim.id


def test_what_certifies_nothing_has_no_tightness_and_that_is_no_zero():
    rows = explanations_frame(seeds=2)
    rows.loc[rows["solver_name"] == PLAIN, "objective_tightness"] = np.nan
    board = {each.solver: each for each in leaderboard(rows, DIGITS, EXPLANATION, "tightness", CAYLEY)}
    assert board[PLAIN].rank == "n/a"
