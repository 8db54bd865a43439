"""The leaderboard: what is averaged, what is marked, and how numbers become text."""

from collections import Counter

import numpy as np
import pytest
from test_report_cells import NAN, cell, every_status, frame

from orthobench.report.leaderboard import (
    find_baseline,
    format_interval,
    format_number,
    format_row,
    leaderboard,
    protocol,
)
from orthobench.report.statistics import interval, paired_comparison


def board(rows, metric="relative_error", baseline="Muon"):
    return {row.solver: row for row in leaderboard(rows, "Gaussian", "Polar factor", metric, baseline)}


def test_every_status_keeps_its_mark_and_its_message():
    rows = board(every_status())
    assert {solver: dict(row.failures) for solver, row in rows.items()} == {
        "SVD": {},
        "Muon[steps=3]": {},
        "Turbo": {},
        "Diverges": {"diverged": 5},
        "Slow": {"timeout": 1},
        "Big": {"out_of_memory": 10},
        "Cheat": {"refuted": 10},
        "Never": {"error": 10},
    }
    assert rows["Never"].note == "ValueError: no such kernel; install triton"
    assert rows["Slow"].note == "over 10 s"
    assert rows["SVD"].note == ""


def test_a_solver_that_failed_with_all_seeds_appears_last_without_figures():
    rows = list(board(every_status()).values())
    assert [row.solver for row in rows[-3:]] == ["Big", "Cheat", "Never"]
    for row in rows[-3:]:
        assert (row.rank, row.n) == ("failed", 0)
        assert np.isnan([row.mean, row.low, row.high, row.time]).all()


def test_failed_cells_are_averaged_nowhere():
    good = [cell("Muon", seed, [0.5, 0.1 + seed / 100]) for seed in range(3)]
    bad = cell("Muon", 3, [0.5, 1e-9], "diverged", times=[1.0, 2.0, 999.0])
    alone, together = board(frame(*good))["Muon"], board(frame(*good, bad))["Muon"]
    assert together.failures == Counter(diverged=1)
    assert (together.n, together.mean, together.low, together.high) == (alone.n, alone.mean, alone.low, alone.high)
    assert (together.time, together.time_high) == (alone.time, alone.time_high)
    assert (alone.rank, together.rank) == ("1", "1†")


def test_a_refuted_cell_is_not_averaged_though_it_has_figures():
    rows = frame(cell("Muon", 0, [0.1]), cell("Muon", 1, [0.0]))
    rows.loc[1, "objective_status"] = "refuted"
    assert (board(rows)["Muon"].mean, board(rows)["Muon"].n) == (0.1, 1)


def test_figures_are_those_of_the_last_points():
    rows = every_status()
    last = rows[(rows.solver_name == "Turbo") & (rows.stop_val == 2)].set_index("idx_rep")
    base = rows[(rows.solver_name == "Muon[steps=3]") & (rows.stop_val == 3)].set_index("idx_rep")
    row, expected = board(rows)["Turbo"], interval(last["objective_relative_error"])
    assert (row.mean, row.low, row.high, row.n) == (expected.estimate, expected.low, expected.high, 10)
    assert (row.time, row.time_low, row.time_high) == (last.time.median(), last.time.min(), last.time.max())
    test = paired_comparison(last["objective_relative_error"], base["objective_relative_error"])
    assert (row.difference.difference, row.difference.low, row.difference.n) == (test.difference, test.low, 10)
    # Seven solvers are compared with the baseline; Turbo has the largest of the three p-values there are.
    assert row.difference.p == pytest.approx(min(1, (7 - 2) * test.p))


def test_no_p_value_below_eight_seeds():
    few = frame(*[cell(name, seed, [value + seed]) for seed in range(7) for name, value in (("Muon", 1), ("Turbo", 2))])
    test = board(few)["Turbo"].difference
    assert (test.difference, test.n) == (1, 7)
    assert np.isnan(test.p)


def test_the_baseline_is_one_solver_or_none():
    assert find_baseline(["Muon", "Muon[steps=3]"], "Muon") == "Muon"
    assert find_baseline(["Muon[steps=3]", "Muon-fast"], "Muon") == "Muon[steps=3]"
    assert find_baseline(["Muon[steps=3]", "Muon[steps=5]"], "Muon") is None
    assert find_baseline(["[steps=3]"], "Muon") is None
    assert find_baseline(["Muon"], None) is None
    rows = board(every_status(), baseline="Nobody")
    assert all(row.difference is None for row in rows.values())
    assert "the baseline Nobody is not in this table" in protocol(list(rows.values()), "relative_error", "Nobody")


def test_names_made_of_parameters_alone_stay_whole():
    rows = frame(cell("[steps=3,lr=0.1]", 0, [0.1]), cell("[steps=5,lr=0.1]", 0, [0.2]))
    assert list(board(rows)) == ["[steps=3,lr=0.1]", "[steps=5,lr=0.1]"]


def test_a_metric_that_does_not_apply_is_not_a_failure():
    row = board(every_status(), "lmo_gap")["SVD"]
    assert (row.rank, row.n, row.failures) == ("n/a", 0, Counter())
    assert board(every_status(), "lmo_gap")["Never"].rank == "failed"


def test_only_metrics_to_be_minimised_have_a_leaderboard():
    with pytest.raises(ValueError, match="no leaderboard of 'accuracy'; choose one of relative_error"):
        board(every_status(), "accuracy")


def test_other_data_sets_and_objectives_stay_out():
    other = cell("Muon", 1, [9.0], dataset="Heavy tails"), cell("Muon", 2, [9.0], objective="Schatten")
    assert board(frame(cell("Muon", 0, [0.1]), *other))["Muon"].mean == 0.1


def test_numbers_have_three_significant_digits():
    shown = {0.0123456: "0.0123", 1.5e-8: "1.50e-8", 123456: "1.23e5", 12: "12.0", 0: "0.00", NAN: "n/a"}
    assert {x: format_number(x) for x in shown} == shown
    assert format_interval(0.5, 1.25) == "[0.500, 1.25]"
    assert format_interval(NAN, NAN) == "n/a"
    assert format_number(np.inf) == "n/a"
    assert format_number(-0.0) == "0.00"


def test_a_row_of_text_hides_nothing():
    rows = board(every_status())
    assert format_row(rows["Big"]) == ["failed", "Big", *["n/a"] * 3, "0", "10 out of memory", *["n/a"] * 2]
    rank, solver, mean, bounds, difference, n, failures, *_ = format_row(rows["Slow"])
    assert (rank, solver, n, failures, mean, bounds) == ("4-5†", "Slow", "9", "1 timeout", "0.800", "[0.800, 0.800]")
    assert ", p = " in difference
