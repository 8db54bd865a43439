"""The report on rows of `benchmark_rcp`: which metric is shown, what is comparable, verdicts, figures, claims."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from orthobench.report import benchmarks, conformal
from orthobench.report.claims_file import load_claims
from orthobench.report.leaderboard import NO_GUARANTEE, leaderboard, protocol

DATA, OBJECTIVE = "digits[radius=0.25]", "Coverage[alpha=0.1]"
SOLVERS = {
    # guaranteed, judged under attack, size, coverage, coverage under attack, p under attack
    "CAS[network=noise]": (True, True, 1.8, 0.99, 0.98, 1.0),
    "lip-rcp[network=lipschitz,score=margin]": (True, True, 1.1, 0.97, 0.92, 0.9),
    "Vanilla[network=lipschitz]": (False, False, 0.9, 0.9, 0.7, 1e-30),
    "Wrong[network=lipschitz]": (False, True, 0.8, 0.85, 0.6, 1e-9),
}


def made_up_frame(seeds=8, radii=(0.25,), failed=()):
    generator = np.random.default_rng(0)
    rows = []
    for radius in radii:
        for solver, (guaranteed, judged, size, coverage, attacked, p) in SOLVERS.items():
            for seed in range(seeds):
                status = "error" if (solver, seed) in failed else "ok"
                figures = {
                    "guaranteed": guaranteed, "judged": True, "judged_attacked": judged, "p_value": 0.5,
                    "p_value_attacked": p, "set_size": size + radius + 0.01 * generator.normal(),
                    "set_size_attacked": size + 0.1, "coverage": coverage, "coverage_attacked": attacked,
                    "coverage_band_low": 0.88, "coverage_band_high": 0.92, "claimed_alpha": 0.1, "radius": radius,
                    "forward_passes": 256.0 if solver.startswith("CAS") else 1.0, "value": size,
                }  # fmt: skip
                curve = json.dumps([[0.0, 0.85, 0.95], [0.5, 0.3, 1.0]]) if solver.startswith("Vanilla") else ""
                shown = {name: value if status == "ok" else np.nan for name, value in figures.items()}
                rows.append({
                    "dataset_name": f"digits[radius={radius}]", "objective_name": OBJECTIVE, "solver_name": solver,
                    "idx_rep": seed, "stop_val": 1, "time": 1.0, "objective_status": status, "objective_message": "",
                    "objective_coverage_curve": curve if status == "ok" else "", "objective_env_device": "cpu",
                    **{f"objective_{name}": value for name, value in shown.items()},
                })  # fmt: skip
    return pd.DataFrame(rows)


def test_rows_are_recognised_and_the_baseline_is_there():
    frame = made_up_frame()
    assert benchmarks.recognise(frame) is benchmarks.BENCHMARKS["benchmark_rcp"]
    board = {
        row.solver: row
        for row in leaderboard(frame, DATA, OBJECTIVE, "set_size", benchmarks.BENCHMARKS["benchmark_rcp"].baseline)
    }
    assert board["lip-rcp[network=lipschitz,score=margin]"].difference.difference < 0


@pytest.mark.parametrize("metric", benchmarks.BENCHMARKS["benchmark_rcp"].leaderboards)
def test_sizes_are_ranked_among_guarantees_alone_and_other_metrics_among_all(metric):
    board = leaderboard(made_up_frame(), DATA, OBJECTIVE, metric) if f"objective_{metric}" in made_up_frame() else []
    unranked = [row.solver for row in board if row.rank == NO_GUARANTEE]
    guaranteed = benchmarks.BENCHMARKS["benchmark_rcp"].guaranteed
    # The smallest sets come last, for they promise nothing.
    assert unranked == (list(SOLVERS)[:1:-1] if metric in guaranteed else [])
    assert [row.solver for row in board][len(board) - len(unranked) :] == unranked
    assert ("no guarantee: not ranked" in protocol(board, metric)) == bool(unranked)


def test_a_failed_cell_stays_in_the_comparison_of_sizes():
    solver = "CAS[network=noise]"
    board = {row.solver: row for row in leaderboard(made_up_frame(failed={(solver, 3)}), DATA, OBJECTIVE, "set_size")}
    assert (board[solver].failures["error"], board[solver].rank, board[solver].n) == (1, "1-2†", 7)


def test_each_claim_is_judged_once_and_p_values_are_adjusted_over_the_file():
    frame = made_up_frame()
    verdicts = conformal.coverage_verdicts(frame)
    # Clean coverage of 4 solvers, attacked coverage of the 3 that claim it, 8 seeds each.
    assert len(verdicts) == 8 * (4 + 3)
    assert {each.solver for each in verdicts if each.refuted} == {"Wrong[network=lipschitz]"}
    assert not any(each.solver.startswith("Vanilla") and each.change == "attacked" for each in verdicts)
    assert verdicts[0].adjusted == pytest.approx(1e-9 * len(verdicts))
    cells, told = conformal.verdicts_table(frame)
    assert len(cells) == len(verdicts)
    assert "56 claims of coverage tested, 8 refuted\n" in told["title"]


def test_claims_without_a_test_are_counted_apart():
    frame = made_up_frame()
    noisy = frame["solver_name"] == "CAS[network=noise]"
    frame.loc[noisy, ["objective_judged", "objective_p_value"]] = [False, np.nan]
    frame["objective_untested"] = np.where(noisy, "needs 100 splits of noisy scores, these are 20", "")
    cells, told = conformal.verdicts_table(frame)
    assert len(cells) == 48
    assert "48 claims of coverage tested, 8 refuted, 8 untested\n" in told["title"]


def test_a_p_value_that_only_a_large_file_explains_does_not_refute():
    frame = made_up_frame()
    frame.loc[frame["solver_name"] == "Wrong[network=lipschitz]", "objective_p_value_attacked"] = 5e-4
    assert not any(each.refuted for each in conformal.coverage_verdicts(frame))


def test_sizes_run_along_the_radius():
    traces = conformal.size_traces(made_up_frame(radii=(0.1, 0.25)), "digits", OBJECTIVE)
    assert {trace.solver for trace in traces} == set(list(SOLVERS)[:2])
    for trace in traces:
        assert trace.x == [0.1, 0.25]
        assert trace.y[1] - trace.y[0] == pytest.approx(0.15, abs=0.02)
        assert all(low <= y <= high for low, y, high in zip(trace.y_low, trace.y, trace.y_high, strict=True))
    assert list(conformal.radius_menu(made_up_frame())) == ["digits"]


def test_coverage_is_shown_clean_and_attacked_with_target_and_band():
    traces = conformal.coverage_traces(made_up_frame(), DATA, OBJECTIVE)
    own = [trace for trace in traces if trace.solver == "Vanilla[network=lipschitz]"]
    assert {trace.kind: trace.y for trace in own} == {"line": [0.9, 0.7], "clean": [0.9], "attacked": [0.7]}
    assert [trace.y[0] for trace in traces if trace.solver is None] == pytest.approx([0.9, 0.88, 0.92])
    assert {trace.solver for trace in traces} == {*SOLVERS, None}


def test_certified_curves_are_those_of_the_rows():
    traces = conformal.certified_traces(made_up_frame(), DATA, OBJECTIVE)
    found = {trace.kind: [*trace.x, *trace.y] for trace in traces}
    assert set(found) == {"curve", "line", "clean", "attacked"}
    assert found["curve"] == pytest.approx([0.0, 0.5, 0.85, 0.3])
    assert found["line"] == pytest.approx([0.0, 0.5, 0.95, 1.0])
    assert found["clean"] == pytest.approx([0.0, 0.9])
    assert found["attacked"] == pytest.approx([0.25, 0.7])


def test_a_run_in_which_everything_failed_has_empty_figures():
    failed = {(solver, seed) for solver in SOLVERS for seed in range(2)}
    frame = made_up_frame(seeds=2, failed=failed)
    assert conformal.size_traces(frame, "digits", OBJECTIVE) == []
    assert conformal.coverage_traces(frame, DATA, OBJECTIVE) == []
    assert conformal.certified_traces(frame, DATA, OBJECTIVE) == []
    assert conformal.coverage_verdicts(frame) == []


def test_the_claims_file_is_read_and_names_solvers_of_the_benchmark():
    claims = load_claims(ROOT / "benchmark_rcp" / "claims.toml")
    assert {claim.query.benchmark for claim in claims} == {"benchmark_rcp"}
    assert len(claims) >= 6
