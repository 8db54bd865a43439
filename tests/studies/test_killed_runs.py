"""A killed run leaves nothing behind and goes on where it was, and the command that shows it looks."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from orthobench import cli
from orthobench.harness.stand import wire
from orthobench.studies import killed_runs

FRONT = """
import importlib
from joblib.externals.loky import ProcessPoolExecutor

with ProcessPoolExecutor(max_workers=1) as executor:
    executor.submit(importlib.import_module, "orthobench.harness.stand.front").result()
    print("ready", flush=True)
    executor.submit(time.sleep, 600).result()
"""
NO_HURRY_S = 600.0  # how long a process takes to end is for the command to say, not for a test


@pytest.fixture
def started(tmp_path):
    """Return a function that starts Python with the mark of the runs of this test, and ends it with the test."""
    processes = []

    def start(text, **variables):
        environment = os.environ | {killed_runs.MARK: "token"} | variables
        command = [sys.executable, "-c", textwrap.dedent(text)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True))
        assert processes[-1].stdout.readline() == "ready\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()
    for each in killed_runs.marked("token", tmp_path):
        os.kill(each.number, signal.SIGKILL)


def test_killed_runs_lose_nothing_and_leave_nothing(capsys, monkeypatch):
    """Killed when most cells are through: a group of processes, and front processes that leave their workers alone."""

    class Drawn:
        def __init__(self, seed):
            self.targets = itertools.cycle(reversed(killed_runs.TARGETS))

        def choice(self, targets):
            return next(self.targets)

        def uniform(self, low, high):
            return 0.9 * high

    monkeypatch.setattr(killed_runs.random, "Random", Drawn)
    monkeypatch.setattr(killed_runs, "PATIENCE_S", NO_HURRY_S)
    cli.main(["study", "killed-runs", "--kills", "3", "--repetitions", "1"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("benchopt run, undisturbed: 22 rows with ")
    assert lines == [
        "rows lost or doubled after 3 kills: 0.000; at most 0: holds",
        "figures that differ from the undisturbed run's after 3 kills: 0.000; at most 0: holds",
        "processes left 600 s after 3 kills: 0.000; at most 0: holds",
    ]


def test_what_a_kill_leaves_is_told(monkeypatch, capsys):
    """With runs that were made up: one row gone, one twice, one with another figure, and a process that stays."""
    rows = pd.DataFrame(
        {
            "dataset_name": "gaussian",
            "objective_name": "tiny",
            "solver_name": list("abc"),
            "idx_rep": 0,
            "stop_val": 1,
            "objective_value": [1.0, 2.0, 4.0],
            "objective_env_host": "here",
            "time": [0.1, 0.2, 0.3],
        }
    )
    other = rows.iloc[[1, 1, 2]].assign(objective_value=[2.0, 2.0, 5.0], objective_env_host="there", time=7.0)
    finished, killed = iter([rows, other]), iter([None, {killed_runs.Process(2**22 + 1, 0)}])
    monkeypatch.setattr(killed_runs.Runs, "finish", lambda runs: next(finished))
    monkeypatch.setattr(killed_runs.Runs, "kill", lambda *_: next(killed))
    cli.main(["study", "killed-runs", "--kills", "1"])
    _, line, cells, figures, processes = capsys.readouterr().out.splitlines()
    assert line.startswith("kill 0 (benchopt run, ")
    assert "1 processes left (), of which all end" in line
    assert line.endswith("1 rows lost, 1 doubled; value differs in 1 rows, by 0.2 of the figure at most")
    assert cells == "rows lost or doubled after 1 kills: 2.000; at most 0: DOES NOT HOLD"
    assert figures.endswith(": 1.000; at most 0: DOES NOT HOLD")
    assert processes == "processes left 5 s after 1 kills: 1.000; at most 0: DOES NOT HOLD"


def test_a_process_is_found_by_its_environment_or_among_those_known_before(started, tmp_path):
    marked = started("print('ready', flush=True); input()")
    (found,) = killed_runs.marked("token", tmp_path)
    assert found.number == marked.pid
    assert found in killed_runs.below(os.getpid())
    assert not killed_runs.marked("another", tmp_path)
    other = started("print('ready', flush=True); input()", **{killed_runs.MARK: "another"})
    (known,) = (each for each in killed_runs.alive() if each.number == other.pid)
    assert killed_runs.marked("token", tmp_path, {known}) == {found, known}
    other.kill()  # a zombie, until it is waited for
    assert killed_runs.left_over("another", tmp_path, {known}, NO_HURRY_S) == set()


def test_a_worker_ends_with_its_front_process(started, tmp_path):
    front = started(FRONT)
    workers = {each for each in killed_runs.below(front.pid) if "LokyProcess" in killed_runs._describe(each)}
    assert len(workers) == 1
    front.kill()
    assert killed_runs.left_over("token", tmp_path, workers, NO_HURRY_S) == set()


def test_a_server_ends_with_its_bench_before_it_has_imported_anything():
    ours, theirs = wire.pair()
    command = [sys.executable, "-P", "-m", "orthobench.harness.stand.server", str(theirs.fileno())]
    server = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    ours.close()
    assert server.wait() == -signal.SIGIO


def test_a_run_that_keeps_failing_is_told(tmp_path):
    (tmp_path / "benchmark").mkdir()
    runs = killed_runs.Runs(tmp_path / "benchmark", tmp_path / "runs", ("orthobench.no_such_module", "run"), 1)
    with pytest.raises(RuntimeError, match=r"failed 5 times: .*No module named orthobench\.no_such_module"):
        runs.finish()


@pytest.mark.parametrize("option", ["--kills=0", "--kills=many", "--repetitions=-1"])
def test_bad_options_are_named(option, capsys):
    with pytest.raises(SystemExit):
        cli.main(["study", "killed-runs", option])
    assert option.partition("=")[2] in capsys.readouterr().err
