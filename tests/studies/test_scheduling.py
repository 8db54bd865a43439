"""The command that prints what scheduling costs measures what it says."""

import math
import re

import pandas as pd
import pytest

from orthobench import cli
from orthobench.studies import scheduling
from orthobench.studies.scheduling import Cost, Line


def test_a_line_is_fitted_by_least_squares():
    assert scheduling.fit([1, 2, 3], [5.0, 7.0, 9.0]) == pytest.approx(Line(3.0, 2.0))
    assert scheduling.fit([0, 1, 2], [0.0, 3.0, 0.0]) == pytest.approx(Line(1.0, 0.0))
    assert Line(3.0, 2.0).at(10) == 23.0
    with pytest.raises(ValueError, match=r"two different numbers of cells, got \[4\]"):
        scheduling.fit([4, 4], [1.0, 2.0])


COSTS = {
    "sequential": [Cost(10, 5.0, 43, 5_000), Cost(1_000, 5.0 + 0.02 * 990, 4_003, 500_000)],
    "dask": [Cost(10, 8.0, 43, 5_000), Cost(20, 8.3, 83, 10_000)],
}


def test_times_are_in_units_of_a_sequential_cell_and_extrapolation_is_told():
    head, sequential, dask = scheduling.time_lines(COSTS, 2.0)
    assert "1.00% of a cell's 2 s" in head  # 0.02 s
    assert sequential.startswith("sequential: start 240, each cell 1.00; 250 for 10 cells (25.00% of their work)")
    assert "1,240 for 1,000 cells" in sequential
    assert "extrapolated 1,240" not in sequential
    assert sequential.endswith("extrapolated 100,240 for 100,000 cells (1.00% of their work)")
    assert dask.startswith("dask: start 385, each cell 1.50; 400 for 10 cells")
    assert "extrapolated 1,885 for 1,000 cells" in dask


def test_files_are_counted_by_cell():
    (line, _) = scheduling.storage_lines(COSTS)
    assert (
        line
        == "sequential: each cell leaves 4.0 files and 0.5 kB; extrapolated 400,003 files and 0.05 GB for 100,000 cells"
    )


def test_noise_is_no_unit():
    with pytest.raises(RuntimeError, match="larger numbers to --cells"):
        scheduling.unit_of({"sequential": [Cost(1, 5.0, 0, 0), Cost(3, 4.9, 0, 0)]})


def test_a_run_is_measured_and_its_rows_are_repeated(tmp_path):
    cost = scheduling.measure("sequential", 2, 1, tmp_path)
    assert cost.cells == 2
    assert 0.1 < cost.seconds < 100
    assert cost.files >= 2
    assert cost.size > 100
    rows = pd.read_parquet(tmp_path / "rows.parquet")
    assert set(rows["solver_name"]) == {"nothing[number=0]", "nothing[number=1]"}
    line = scheduling.result_line(rows, 1_000, 1.0)
    figures = re.findall(r"[\d,.]*\d", line)
    assert figures[0] == "1,000"
    assert all(math.isfinite(float(each.replace(",", ""))) for each in figures)


def test_a_run_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(scheduling.FILES, "objective.py", "")
    with pytest.raises(RuntimeError, match=r"sequential gave 0 rows for 1 cells: .*Could not find Objective"):
        scheduling.measure("sequential", 1, 1, tmp_path)


@pytest.mark.parametrize("option", ["--cells=0", "--workers=two", "--cell-seconds=-1", "--backend=sge"])
def test_bad_options_are_named(option, capsys):
    with pytest.raises(SystemExit):
        cli.main(["study", "scheduling", option])
    assert option.partition("=")[2] in capsys.readouterr().err
