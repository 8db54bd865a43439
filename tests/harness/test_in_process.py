"""For a debugger a solver runs in the bench: its rows say so."""

import pytest
from toys import STRATEGIES, points, toy

from orthobench.harness.stand import bench


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_cell_runs_in_the_bench_for_a_debugger_and_its_rows_say_so(small_benchmark, monkeypatch, strategy):
    monkeypatch.setenv(bench.IN_PROCESS_VARIABLE, "1")
    plant = "assert os.getpid() == self.bench"
    files = toy(strategy, {"honest": (plant, ""), "raises": ("if step == 3: raise RuntimeError('planted')", "")})
    rows = small_benchmark.write(files).run()
    assert rows["objective_env_stand"].eq("in process").all()
    honest = rows[rows["solver_name"] == "honest"]
    assert honest["objective_status"].tolist() == ["ok"] * len(points(strategy))
    assert honest["stop_val"].tolist() == points(strategy)
    raises = rows[rows["solver_name"] == "raises"]
    assert raises["objective_status"].iloc[-1] == "error"
    assert "RuntimeError: planted" in raises["objective_message"].iloc[-1]


def test_a_place_that_is_none_is_named(small_benchmark, monkeypatch):
    monkeypatch.setenv(bench.IN_PROCESS_VARIABLE, "yes")
    rows = small_benchmark.write(toy("run_once", {"honest": (None, "")})).run()
    assert rows["objective_status"].tolist() == ["error"]
    assert "ORTHOBENCH_IN_PROCESS='yes': expected 0 or 1" in rows["objective_message"].item()
