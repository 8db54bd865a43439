"""Faults around a run cost nothing, and what they cost is told."""

import random
from types import SimpleNamespace

import pandas as pd
import pytest

from orthobench.studies import faults
from orthobench.studies.goals import Figure

SAMPLE = ["SIGKILL at a random moment", "a server that misbehaves", "two runs at once"]


def test_a_sample_of_faults_loses_nothing():
    lines = list(faults.study(1, 3, SAMPLE))
    figures = [line for line in lines if isinstance(line, Figure)]
    assert len(figures) == len(SAMPLE)
    assert all(figure.holds for figure in figures), lines


def test_a_loss_is_counted_and_told(monkeypatch):
    monkeypatch.setattr(
        faults, "Bench", lambda folder: SimpleNamespace(rows=[], duration_s=0.0, folder=faults.Path(folder))
    )
    answers = iter(["", "2 rows lost, 0 doubled", ""])
    monkeypatch.setitem(faults.FAULTS, "SIGKILL at a random moment", lose := lambda *_: next(answers))
    lose.__name__ = "lose"
    *lines, figure = faults.study(3, 0, SAMPLE[:1])
    assert "SIGKILL at a random moment 1: 2 rows lost, 0 doubled" in lines
    assert "SIGKILL at a random moment: 3 injected, 2 survived, 1 lost" in lines
    assert not figure.holds


@pytest.mark.parametrize("seed", range(8))
def test_each_kind_of_bad_server_gives_the_right_bytes_or_none(tmp_path, seed):
    assert faults.server(SimpleNamespace(folder=tmp_path), "server", random.Random(seed)) == ""


def test_a_row_that_is_lost_is_missed():
    rows = pd.DataFrame(
        {
            "dataset_name": "d",
            "objective_name": "o",
            "solver_name": ["a", "b"],
            "idx_rep": 0,
            "stop_val": 0,
            "objective_value": [1.0, 2.0],
        }
    )
    bench = SimpleNamespace(rows=rows)
    assert faults.Bench.lost(bench, rows) == ""
    assert faults.Bench.lost(bench, rows[:1]) == "1 rows lost, 0 doubled"
    assert faults.Bench.lost(bench, rows.assign(objective_value=[1.0, 3.0])) == "1 figures differ"
