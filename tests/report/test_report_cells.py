"""The cells of a result frame. The made-up frames here serve the other tests of the report too."""

import numpy as np
import pandas as pd
import pytest

from orthobench.report.cells import cells

NAN = float("nan")


def cell(solver, seed, values, status="ok", message="", times=None, dataset="Gaussian", objective="Polar factor"):
    """Rows of one cell as Benchopt writes them: one a step; a status other than ok adds the row of the failure."""
    values = list(values) + ([NAN] if status != "ok" else [])
    times = times or [1e-3 * (step + 1) * (1 + seed / 50) for step in range(len(values))]
    return [
        {
            "dataset_name": dataset,
            "objective_name": objective,
            "solver_name": solver,
            "idx_rep": seed,
            "stop_val": step + 1,
            "time": time,
            "objective_value": value,
            "objective_relative_error": value,
            "objective_orthogonality_error": 2 * value,
            "objective_lmo_gap": NAN,
            "objective_time_per_matrix_s": time / 10,
            "objective_status": "ok" if status == "ok" or step + 1 < len(values) else status,
            "objective_message": message if step + 1 == len(values) else "",
            "objective_env_torch": "2.11",
        }
        for step, (value, time) in enumerate(zip(values, times, strict=True))
    ]


def frame(*cells):
    return pd.DataFrame([row for rows in cells for row in rows])


def every_status(seeds=10):
    """An iterative and a direct solver that are fine, and one of each way to fail; "Muon" is the baseline."""
    noise = np.random.default_rng(0).normal(size=(4, seeds))
    rows = []
    for seed in range(seeds):
        rows += [
            cell("Muon[steps=3]", seed, np.array([0.5, 0.1, 0.01]) * np.exp(0.3 * noise[0, seed])),
            cell("SVD", seed, [1e-6 * np.exp(0.6 * noise[1, seed])], times=[0.02]),
            cell("Turbo", seed, np.array([0.4, 0.1]) * np.exp(0.6 * noise[2, seed])),
            cell("Never", seed, [], "error", "ValueError: no such kernel; install triton", times=[0.0]),
        ]
        late = seed % 2
        rows.append(cell("Diverges", seed, [0.3, 0.2], *(["diverged", "NaN at step 3"] if late else ["ok"])))
        rows.append(cell("Slow", seed, [0.9], "timeout", "over 10 s") if seed == 0 else cell("Slow", seed, [0.9, 0.8]))
        rows.append(cell("Big", seed, [], "out_of_memory", "needs 90 GB; use a smaller batch"))
        rows.append(cell("Cheat", seed, [0.2], "refuted", "the claim does not hold"))
    return frame(*rows)


def test_points_are_in_order_whatever_the_order_of_the_rows():
    rows = frame(cell("Muon", 0, [0.5, 0.1, 0.01]))
    shuffled = rows.sample(frac=1, random_state=1)
    assert shuffled["stop_val"].tolist() != [1, 2, 3]
    (found,) = cells(shuffled, "Gaussian", "Polar factor", "relative_error")
    assert found.value.tolist() == [0.5, 0.1, 0.01]


def test_a_failure_that_repeats_the_last_step_comes_after_it():
    rows = frame(cell("Muon", 0, [0.5, 0.1], "timeout", "over 10 s"))
    rows["stop_val"] = [1, 2, 2]
    (found,) = cells(rows.iloc[::-1], "Gaussian", "Polar factor", "relative_error")
    assert (found.status, found.message, found.ok) == ("timeout", "over 10 s", False)
    assert found.value[:2].tolist() == [0.5, 0.1]


def test_a_status_that_is_not_there_counts_as_an_error():
    rows = frame(cell("Muon", 0, [0.5]))
    rows["objective_status"] = None
    (found,) = cells(rows, "Gaussian", "Polar factor", "relative_error")
    assert found.status == "error"


def test_two_runs_in_one_file_are_refused():
    rows = frame(cell("Muon", 0, [0.5]), cell("Muon", 0, [0.4]))
    with pytest.raises(ValueError, match="Muon, repetition 0, on Gaussian has the same point twice"):
        cells(rows, "Gaussian", "Polar factor", "relative_error")


def test_a_foreign_frame_and_an_unknown_metric_are_named():
    rows = frame(cell("Muon", 0, [0.5]))
    with pytest.raises(ValueError, match="objective_status"):
        cells(rows.drop(columns="objective_status"), "Gaussian", "Polar factor", "value")
    with pytest.raises(ValueError, match=r"no metric 'coverage'.*relative_error"):
        cells(rows, "Gaussian", "Polar factor", "coverage")
