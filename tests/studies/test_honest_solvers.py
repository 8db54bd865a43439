"""The command that runs honest solvers counts the cells that aren't left alone, and goes on until there are enough."""

import pandas as pd
from conftest import ROOT

from orthobench.studies import honest_solvers
from orthobench.studies.honest_solvers import CONTROLS, Control


def rows(statuses, seed):
    solvers = [f"s{index // 2}" for index in range(len(statuses))]  # two rows a cell
    key = {"dataset_name": "d", "objective_name": "o", "solver_name": solvers, "idx_rep": 0}
    return pd.DataFrame(key | {"objective_status": statuses, "objective_message": "why", "seed": seed})


def test_cells_that_are_not_ok_are_counted_once_each(monkeypatch):
    ran = []

    def run(benchmark, control, seed):
        ran.append((control.name, seed))
        bad = control.name == "two" and seed == 1
        return rows(["ok", "refuted", "ok", "ok"] if bad else ["ok"] * 4, seed)

    monkeypatch.setattr(honest_solvers, "run_control", run)
    monkeypatch.setitem(CONTROLS, "toy", (Control("one", ()), Control("two", ())))
    *each, total, why = honest_solvers.controls("toy", 5)
    assert ran == [("one", 0), ("two", 0), ("one", 1), ("two", 1)]
    assert [figure.value for figure in each] == [0, 0, 0, 1]
    assert total.line() == "toy: cells of honest solvers that aren't ok, of 8: 1.000; at most 0: DOES NOT HOLD"
    assert why == "  1 of s0: refuted: why"


def test_a_control_runs_with_its_options_its_seed_and_its_constants(monkeypatch):
    called = []

    def run_benchopt(copy, benchmark, *options):
        called.append((options, (copy / benchmark / "objective.py").read_text()))
        return 1.0, rows(["ok"], 0)

    monkeypatch.setattr(honest_solvers, "run_benchopt", run_benchopt)
    control = Control("toy", ("-d", "digits"), "Objective.attacked = 1\n")
    honest_solvers.run_control("benchmark_lipschitz", control, 3)
    ((options, objective),) = called
    assert options == ("-d", "digits", "--no-timeout", "--seed", "3")
    assert objective.endswith("\nObjective.attacked = 1\n")


def test_what_controls_name_exists():
    for benchmark, own in CONTROLS.items():
        assert own
        for control in own:
            paths = [
                value for name, value in zip(control.options, control.options[1:], strict=False) if name == "--config"
            ]
            assert all((ROOT / path).is_file() for path in paths)
            assert (ROOT / benchmark).is_dir()


def test_what_a_control_adds_to_an_objective_is_there_and_can_be_changed(monkeypatch):
    from orthobench.harness.segmentation import evaluation

    monkeypatch.setattr(evaluation, "HEADLINE", evaluation.HEADLINE)
    radii = []
    for control in CONTROLS["benchmark_segmentation"]:
        exec(control.objective, {})  # noqa: S102 - code of the study
        radii.append(evaluation.HEADLINE)
    assert len(set(radii)) == 4
