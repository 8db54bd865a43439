"""The figures and tables of `benchmark_dp`, from rows that are made up, and its plots for any frame."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from benchopt.plotting.helpers import reset_solver_styles, update_plot_data_style
from made_up import fail
from test_report_plots import HOSTILE, ROOT, hostile_frame, plot_classes
from test_report_training_plots import assert_plain

from orthobench.report import benchmarks, privacy
from orthobench.report.claims import check_claims
from orthobench.report.claims_file import load_claims
from orthobench.report.leaderboard import leaderboard

FOLDER = ROOT / "benchmark_dp"
PLOTS = plot_classes(FOLDER / "plots")
GHOST, HOOKS = (f"DP-SGD[clip_norm=0.1,learning_rate=50.0,way={way}]" for way in ("ghost", "hooks"))
CLIPLESS = "Clipless[allocation=optimal,constant=tight,learning_rate=0.1,projection=svd,temperature=0.0625]"
PLAIN = "SGD[learning_rate=5.0]"
DATA = "digits[batch_size=256,input_norm=1.0,network=linear,steps=200]"
LARGE = DATA.replace("=256", "=1024")
WIDE = DATA.replace("network=linear", "network=mlp-256-256")
# Error at epsilon 1, milliseconds of a step.
QUALITY = {GHOST: (0.10, 2.0), HOOKS: (0.10, 6.0), CLIPLESS: (0.16, 1.0)}
LAYERS = [{"name": "1.weight", "bound": 1.5, "largest": 1.2, "mean": 0.6}]


@pytest.fixture(autouse=True)
def _same_styles_in_every_test():
    reset_solver_styles()


def objective(epsilon, audit=False):
    return f"Private training[audit={audit},epsilon={epsilon},part=held_out]"


def rows_of(dataset, epsilon, solver, seed, error, step_ms):
    private, rows = epsilon != "inf", []
    shift = 0.001 * seed
    for step in (0, 200):
        now = 0.9 if not step else error / (float(epsilon) if private else 4) ** 0.5 + shift
        last = step and private
        figures = {
            "value": now,
            "error": now,
            "accuracy": 1 - now,
            "epsilon_claimed": float(epsilon),
            "epsilon_pld": float(epsilon) if last else np.nan,
            "epsilon_prv": float(epsilon) + 0.001 if last else np.nan,
            "epsilon_rdp": 1.1 * float(epsilon) if last else np.nan,
            "epsilon_audit": np.nan,
            "audit_power": np.nan,
            "sensitivity_ratio": 0.9 if last else np.nan,
            "gradient_to_noise": 0.5 + shift if last else np.nan,
            "layers": json.dumps(LAYERS) if last else "",
            "step_time_ms": step_ms * (1 + seed / 100) if step else np.nan,
            "time_s": 0.2 * step_ms if step else 0.0,
            "peak_memory_bytes": 1e8,
            "parameters": 650,
            "lipschitz_upper": 1.0,
            **{f"certified_accuracy_{radius}": (1 - now) * (1 - radius / 40) for radius in privacy.RADII},
        }
        rows.append(
            {
                "dataset_name": dataset,
                "objective_name": objective(epsilon),
                "solver_name": solver,
                "idx_rep": seed,
                "stop_val": step,
                "time": 1e-3 * step_ms * step,
                **{f"objective_{name}": figure for name, figure in figures.items()},
                "objective_status": "ok",
                "objective_message": "",
                "objective_env_device": "cpu",
            }
        )
    return rows


def frame(seeds=8, epsilons=(1, 2, "inf"), solvers=(GHOST, HOOKS, CLIPLESS), datasets=(DATA,)):
    rows = []
    for dataset in datasets:
        for epsilon in epsilons:
            for solver in (PLAIN,) if epsilon == "inf" else solvers:
                for seed in range(seeds):
                    rows += rows_of(dataset, epsilon, solver, seed, *QUALITY.get(solver, (0.1, 1.0)))
    return pd.DataFrame(rows)


def test_rows_are_recognised_and_boards_have_the_baseline():
    rows = frame()
    assert benchmarks.recognise(rows) is benchmarks.BENCHMARKS["benchmark_dp"]
    for metric in benchmarks.BENCHMARKS["benchmark_dp"].leaderboards:
        board = {
            row.solver: row
            for row in leaderboard(rows, DATA, objective(1), metric, benchmarks.BENCHMARKS["benchmark_dp"].baseline)
        }
        assert set(board) == {GHOST, HOOKS, CLIPLESS}
    board = leaderboard(rows, DATA, objective(1), "error", benchmarks.BENCHMARKS["benchmark_dp"].baseline)
    assert board[-1].solver == CLIPLESS


def test_accuracy_against_epsilon_is_the_median_over_seeds_and_the_reference_is_a_line():
    menu = privacy.epsilon_menu(frame())
    assert list(menu.values()) == ["Private training[audit=False,part=held_out]"]
    traces = privacy.epsilon_traces(frame(), DATA, menu[next(iter(menu))])
    curves = {trace.solver: trace for trace in traces}
    assert curves[CLIPLESS].x == [1.0, 2.0]
    assert curves[CLIPLESS].y == pytest.approx([1 - 0.16 - 0.0035, 1 - 0.16 / 2**0.5 - 0.0035])
    assert all(
        low <= y <= high
        for low, y, high in zip(*(getattr(curves[GHOST], k) for k in ("y_low", "y", "y_high")), strict=True)
    )
    assert curves[PLAIN].x == [1.0, 2.0]
    assert curves[PLAIN].y == pytest.approx([1 - 0.05 - 0.0035] * 2)
    assert "not private" in curves[PLAIN].label


def test_failed_cells_are_crosses():
    rows = fail(frame(seeds=3), CLIPLESS, [1], "refuted")
    (name,) = privacy.epsilon_menu(rows).values()
    crosses = [trace for trace in privacy.epsilon_traces(rows, DATA, name) if trace.kind == "failed"]
    assert [trace.solver for trace in crosses] == [CLIPLESS]
    assert "refuted" in crosses[0].label


def test_cost_is_a_ratio_to_ghost_clipping_along_the_batch_or_the_width():
    rows = frame(epsilons=(2,), datasets=(DATA, LARGE, WIDE, WIDE.replace("256-256", "64-64")))
    along = {
        key: privacy.cost_traces(rows, DATA if key == "batch_size" else WIDE, objective(2), "step_time_ms", key)
        for key in privacy.SIZES
    }
    for key, sizes in (("batch_size", [256, 1024]), ("network", [64, 256])):
        ratios = {trace.solver: trace for trace in along[key]}
        assert ratios[CLIPLESS].x == sizes
        assert ratios[CLIPLESS].y == pytest.approx([0.5, 0.5])
        assert ratios[HOOKS].y == pytest.approx([3.0, 3.0])
        assert ratios[None].y == [1.0, 1.0]


def test_tables_of_epsilons_and_of_gradients_and_bounds():
    rows = frame()
    table = {
        row[0]: dict(zip(privacy.EPSILON_COLUMNS, row, strict=True))
        for row in privacy.epsilon_rows(rows, DATA, objective(2))
    }
    assert table["DP-SGD[way=ghost]"]["claimed"] == "2.00"
    assert table["DP-SGD[way=ghost]"]["RDP"] == "2.20"
    assert table["Clipless"]["audited, at least"] == "n/a"
    layers = privacy.layer_rows(rows, DATA, objective(2))
    assert len(layers) == 3
    row = dict(zip(privacy.LAYER_COLUMNS, layers[0], strict=True))
    assert (row["layer"], row["n"], row["bound"], row["largest / bound"], row["mean / bound"]) == (
        "1.weight", "8", "1.50", "0.800", "0.400",
    )  # fmt: skip


def test_certified_accuracy_begins_with_the_accuracy():
    (curve,) = [trace for trace in privacy.certified_traces(frame(), DATA, objective(1)) if trace.solver == CLIPLESS]
    assert curve.x == [0, *privacy.RADII]
    assert curve.y == pytest.approx([(1 - 0.1635) * (1 - radius / 40) for radius in curve.x])


def test_every_claim_is_checked_and_these_rows_decide_some():
    claims = load_claims(FOLDER / "claims.toml")
    verdicts = {verdict.claim.id: verdict for verdict in check_claims(frame(), claims)}
    assert set(verdicts) == {claim.id for claim in claims}
    assert verdicts["clipless-no-clipping-bias"].verdict == "not reproduced"
    assert verdicts["clipless-memory"].verdict == "not run here"


def few():
    return frame(seeds=2, epsilons=(1, 2))


def all_failed():
    rows = few()
    rows = rows[rows["stop_val"] == 0]
    for solver in (GHOST, HOOKS, CLIPLESS):
        rows = fail(rows, solver, range(2), "error")
    kept = ("objective_name", "objective_value", "objective_status", "objective_message", "objective_env_device")
    return rows[[name for name in rows if not name.startswith("objective_") or name in kept]]


def hostile_inside():
    rows = few()
    for column, word in (("dataset_name", "linear"), ("objective_name", "held_out"), ("solver_name", "learning_rate")):
        rows[column] = rows[column].str.replace(word, HOSTILE, regex=False)
    return rows


FRAMES = {
    "ordinary": frame(seeds=3, datasets=(DATA, LARGE)),
    "failures": fail(fail(few(), CLIPLESS, [0, 1], "refuted"), GHOST, [1], "diverged"),
    "one seed": frame(seeds=1),
    "one point": few()[lambda rows: rows["stop_val"] == 0],
    "all failed": all_failed(),
    "broken layers": few().assign(objective_layers='[{"name": 3}, 4'),
    "odd epsilon": few()
    .assign(objective_name="Private training[epsilon=many]", dataset_name="digits")
    .drop_duplicates(["solver_name", "idx_rep", "stop_val"]),
    "hostile text": hostile_frame(fail(few(), GHOST, [1], "diverged")),
    "hostile inside": hostile_inside(),
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
    text = json.dumps(styled, allow_nan=False)
    assert not set("<>&") & set(text.replace("<br />", ""))
