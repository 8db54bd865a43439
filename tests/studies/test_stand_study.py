"""The command that prints what a stand costs measures what it says, and says what misses its goal."""

import math
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

from orthobench import cli
from orthobench.studies import killed_runs, stand
from orthobench.studies.goals import Figure


def frame(values=(1.0, 2.0, 4.0), solvers="abc", **columns):
    key = {"dataset_name": "gaussian", "objective_name": "tiny", "solver_name": list(solvers), "idx_rep": 0}
    return pd.DataFrame(key | {"stop_val": 1, "objective_value": list(values)} | columns)


def test_the_report_has_a_line_for_each_figure_and_says_what_misses_its_goal(monkeypatch, capsys):
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cpu")
    original = Figure.of.__func__

    def missed(cls, name, values, **goal):
        return original(cls, name, values, **{bound: -1.0 for bound in goal})

    monkeypatch.setattr(Figure, "of", classmethod(missed))
    few = {"starts": 2, "echoes": 3, "transports": 2, "sizes": 24, "repetitions": 2, "processes": 1}
    options = [text for name, value in few.items() for text in (f"--{name}", str(value))]
    cli.main(["study", "stand", *options])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("device cpu, ")
    names, figures = zip(*(line.split(": ", 1) for line in lines), strict=True)
    assert names == (
        "the server's start, once a process, s",
        "a stand's start, ms",
        "an echo, us",
        "1 MB there and back, ms",
        "16 MB there and back, ms",
        "a stand's start, a solver loaded and run on a small matrix in it, ms",
        "peak memory of the bench, which is this process, MB",
        "peak memory of the server, MB",
        "peak memory of a stand, MB",
        "what of it the stand shares with no other process, MB",
        "turbo_muon at 24 x 24 float32, through the stand over alone",
        "muon at 24 x 24 float32, through the stand over alone",
    )
    for figure in figures:
        value = float(re.match(r"[\d.]+|nan", figure)[0])
        assert value >= 0 or math.isnan(value)
    assert [name for name, figure in zip(names, figures, strict=True) if figure.endswith("DOES NOT HOLD")] == [
        names[1],
        names[2],
        *names[-2:],
    ]


def test_the_goals_are_those_of_the_stand(monkeypatch):
    class Stand:
        pid = 0

        def __init__(self, role):
            pass

        def ask(self, kind, *tensors, **fields):
            pass

        def end(self):
            pass

    monkeypatch.setattr(stand, "Stand", Stand)
    monkeypatch.setattr(stand, "server", lambda: None)
    monkeypatch.setattr(stand, "alternated", lambda *_: {"stand": [2.06, 3.0], "alone": [2.0, 3.0]})
    assert [figure.goal for figure in stand.starts(2)] == ["", "at most 60"]
    assert [figure.goal for figure in stand.starts(2, on_cpu=False)] == ["", ""]
    assert [figure.goal for figure in stand.questions(2, 2)] == ["at most 100", "", ""]
    for figure in stand.methods([8], 2, 3):
        assert figure.count == 6
        assert figure.goal == "at least 0.98 and at most 1.02"
        assert figure.value == pytest.approx(1.015)


def test_rows_that_are_equal_but_for_clocks_have_no_differences():
    rows = frame(objective_time_s=1.0, objective_env_host="here", objective_peak_memory_bytes=1.0, time=0.1)
    other = frame(objective_time_s=2.0, objective_env_host="there", objective_peak_memory_bytes=2.0, time=0.2)
    apart = stand.differences(rows.iloc[::-1], other)
    assert (apart.lost, apart.doubled, apart.count, apart.compared, apart.alone) == (0, 0, 0, 3, ())
    assert not list(apart.lines())


def test_rows_and_figures_that_differ_are_counted_and_named():
    rows = frame((1.0, 2.0, math.nan), objective_message=["", "", "of one"], objective_stand="process")
    other = frame((math.nextafter(1.0, 2.0), 2.0, 3.0, 4.0), "abcd", objective_message=["", "", "of another", ""])
    apart = stand.differences(pd.concat([rows, rows[:1]]), other)
    assert (apart.lost, apart.doubled, apart.compared, apart.alone) == (1, 1, 6, ("objective_stand",))
    assert apart.columns["objective_value"] == (2, math.inf)
    assert apart.columns["objective_message"][0] == 1
    assert list(stand.differences(frame((1.0, 2.0, 3.0)), frame()).lines()) == [
        "  value differs in 1 rows, by 0.25 of the figure at most"
    ]
    assert next(iter(stand.differences(rows[:1], other).lines())).startswith("  value differs in 1 rows, by 2.2e-16")
    assert "  message differs in 1 rows" in apart.lines()
    assert "  columns that one of both has alone: objective_stand" in apart.lines()


def test_quick_configurations_alternate_after_a_run_that_is_thrown_away(monkeypatch):
    order, seconds = [], {"base": iter([50.0, 2.0, 4.0]), "here": iter([90.0, 5.0, 10.0])}
    monkeypatch.setattr(stand, "CONFIGURATIONS", {"root": (".", 2.0)})
    monkeypatch.setattr(stand, "copy_checkout", lambda source, target: target)

    def run(copy, benchmark):
        order.append(copy.name)
        status = ["ok", "ok", "refuted" if copy.name == "here" else "ok"]
        values = 1.0, 2.0, 4.0 if copy.name == "base" else 5.0
        return next(seconds[copy.name]), frame(values, objective_status=status, objective_message="why")

    monkeypatch.setattr(stand, "run_configuration", run)
    time, rows, figures, *lines = stand.quick_configurations("another", 2)
    assert order == ["here", "base", "base", "here", "here", "base"]
    assert time.line() == (
        "root, processor time of the quick configuration over the other checkout's: 2.500 (2.500 to 2.500 in the "
        "middle half of 2); at most 2: DOES NOT HOLD"
    )
    assert rows.line() == "root, rows lost or doubled: 0.000; at most 0: holds"
    assert figures.line() == "root, figures that differ, of 9: 2.000; at most 0: DOES NOT HOLD"
    assert lines == [
        "  value differs in 1 rows, by 0.2 of the figure at most",
        "  status differs in 1 rows",
        "  1 of c: refuted: why",
    ]


def test_the_quick_configurations_exist():
    for folder, _ in stand.CONFIGURATIONS.values():
        assert (stand.checkout() / folder / "configs" / "quick.yml").is_file()


def test_a_copy_of_a_checkout_runs_its_own_code_with_a_cache_of_its_own(tmp_path):
    source = tmp_path / "checkout"
    for name in ("src/orthobench", "configs", "outputs", "__cache__"):
        (source / name).mkdir(parents=True)
    for name in ("objective.py", "configs/quick.yml", "outputs/old.parquet", "__cache__/old"):
        (source / name).touch()
    (source / "src/orthobench/__init__.py").write_text("here = 1")
    copy = stand.copy_checkout(source, tmp_path / "copy")
    assert {path.name for path in copy.iterdir()} == {"src", "configs", "objective.py"}
    environment = stand._environment(copy)
    assert environment["ORTHOBENCH_CACHE"] == f"{copy}_cache"
    found = subprocess.run(
        [sys.executable, "-P", "-c", "import orthobench; print(orthobench.here)"], env=environment, capture_output=True
    )
    assert found.stdout == b"1\n"


def test_what_is_no_checkout_is_named(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"is no checkout of this repository: it has no objective\.py"):
        stand.copy_checkout(tmp_path, tmp_path / "copy")
    shutil.copy(ROOT / "objective.py", tmp_path)
    with pytest.raises(ValueError, match=r"has no src/orthobench/__init__\.py"):
        stand.copy_checkout(tmp_path, tmp_path / "copy")


def test_a_run_that_fails_is_told(tmp_path):
    with pytest.raises(RuntimeError, match=r"benchopt run no_such_folder in .* ended with [12]: "):
        stand.run_benchopt(tmp_path, "no_such_folder")


def test_honest_rows_that_are_not_ok_are_counted_while_loops_run(monkeypatch):
    """With runs that were made up: 3 rows each, of which one is refuted in the second."""
    beside, seeds = [], []

    def run(copy, benchmark, *options):
        beside.append(len(killed_runs.below(os.getpid())))
        seeds.append(options[-1])
        status = ["ok", "ok", "refuted" if len(seeds) == 2 else "ok"]
        return 1.0, frame(objective_status=status, objective_message=["", "", "too fast"])

    monkeypatch.setattr(stand, "copy_checkout", lambda source, target: target)
    monkeypatch.setattr(stand, "run_benchopt", run)
    before = len(killed_runs.below(os.getpid()))
    figure, line = stand.honest(7)
    cores = os.cpu_count()
    assert seeds == ["0", "1", "2"]
    assert beside == [before + cores] * 3
    assert len(killed_runs.below(os.getpid())) == before
    assert figure.line() == (
        f"rows of honest solvers that aren't ok, of 9, beside {cores} busy loops: 1.000; at most 0: DOES NOT HOLD"
    )
    assert line == "  1 of c: refuted: too fast"


def test_honest_solvers_run_in_a_copy_of_this_checkout(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    figures = list(stand.honest(1, datasets=["gaussian[rows=8,columns=12]"], solvers=["QR"], repetitions=1))
    assert figures[0].name.startswith("rows of honest solvers that aren't ok, of 2, beside ")


@pytest.mark.parametrize("option", ["--starts=0", "--echoes=many", "--sizes=-1"])
def test_bad_options_are_named(option, capsys):
    with pytest.raises(SystemExit):
        cli.main(["study", "stand", option])
    assert option.partition("=")[2] in capsys.readouterr().err
