"""The leaderboards in the terminal, and what happens with a file that is none of ours."""

import subprocess
import sys

import pandas as pd
import pytest
from test_report_cells import cell, every_status, frame

from orthobench.report.command import main
from orthobench.report.text import render_leaderboard

pytestmark = pytest.mark.usefixtures("wide_terminal")


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "run.parquet"
    other = frame(cell("Muon", 0, [0.25], dataset="Heavy tails"))
    pd.concat([every_status(), other]).to_parquet(path)
    return path


def test_the_command_prints_one_table_a_data_set(parquet):
    run = subprocess.run([sys.executable, "-m", "orthobench", "report", parquet], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert "Polar factor | Gaussian" in run.stdout
    assert "Polar factor | Heavy tails" in run.stdout
    assert "10 out of memory" in run.stdout
    assert "! Never: ValueError: no such kernel; install triton" in run.stdout


def test_reading_results_loads_neither_torch_nor_benchopt():
    code = (
        "import sys, orthobench.report.text, orthobench.report.curves; print({'torch', 'benchopt'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_columns_are_aligned():
    lines = render_leaderboard(every_status(), "Gaussian", "Polar factor").splitlines()
    table = [line for line in lines[3:] if not line.startswith(("!", "n = "))]
    start = table[0].index("95 % interval")
    assert len(table) == 2 + 8
    assert all(line[start - 2 : start] in ("  ", "--") or line[start - 2 : start].isspace() for line in table)
    assert {line[start] for line in table[2:]} == {"[", "n"}


def test_metric_and_baseline_can_be_chosen(parquet, capsys):
    assert main([str(parquet), "--metric", "orthogonality_error", "--baseline", "SVD"]) == 0
    printed = capsys.readouterr().out
    assert "orthogonality error, lower is better" in printed
    assert "difference to SVD paired by seed" in printed


def test_several_files_are_read_as_one_result(parquet, tmp_path, capsys):
    other = tmp_path / "other.parquet"
    frame(cell("Turbo", 0, [0.1], dataset="Heavy tails")).to_parquet(other)
    assert main([str(parquet), str(other)]) == 0
    table = capsys.readouterr().out.split("Polar factor | Heavy tails")[1]
    assert "Muon" in table
    assert "Turbo" in table


def test_escape_sequences_of_a_message_do_not_reach_the_terminal():
    rows = frame(cell("Mu\x1b[2Jon", 0, [], "error", "bad\x1b]0;title\x07\nsecond line"))
    text = render_leaderboard(rows, "Gaussian", "Polar factor")
    assert text.isprintable() or set(c for c in text if not c.isprintable()) == {"\n"}
    assert "second line" in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"solver,time\n", "not a parquet file"),
        (pd.DataFrame({"solver_name": ["Muon"], "time": [0.1]}), "the columns dataset_name, objective_name, idx_rep"),
        (every_status().drop(columns="objective_relative_error"), "no metric 'relative_error'"),
        (pd.concat([every_status()] * 2), "report on one file at a time"),
    ],
    ids=["missing", "no parquet", "foreign", "no such metric", "two runs"],
)
def test_a_file_that_cannot_be_reported_is_named_with_the_reason(content, expected, tmp_path, capsys):
    path = tmp_path / "run.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content.to_parquet(path)
    assert main([str(path)]) == (2 if content is None else 1)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {path}: ")
    assert expected in printed.err
    assert "\n" not in printed.err.strip()
