"""Every backend gives the rows of the sequential run, and a cell whose process dies costs no other."""

import os
import signal
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from benchopt import parallel_backends
from conftest import ROOT
from toys import toy

from orthobench import cli
from orthobench.runs import dispatch

CONFIGS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "configs" / "parallel").glob("*.yml")}
SOLVERS = {
    "draws": ("self.drawn = float(torch.rand(()))", ""),
    "killed": ("self.signal = signal.SIGKILL", ""),  # as when memory is short there
    "slow": ("while step == 2: pass", ""),
}
FIGURES = ["objective_value", "objective_drawn", "objective_status", "objective_message"]
FIGURES += ["objective_env_threads", "objective_env_stand"]


def figures(rows):
    return rows.set_index(["solver_name", "idx_rep", "stop_val"])[FIGURES].sort_index()


@pytest.mark.parametrize("backend", CONFIGS)
def test_rows_are_those_of_the_sequential_run_and_a_dead_process_costs_its_own(small_benchmark, backend, capsys):
    small_benchmark.write(toy("run_once", SOLVERS))
    options = {"timeout": 1}
    with dispatch.contained_jobs():
        rows = small_benchmark.run(parallel_config=dict(CONFIGS[backend]), **options)
    capsys.readouterr()
    collected = small_benchmark.run(collect=True, **options)
    assert "not run yet" in next(line for line in capsys.readouterr().out.splitlines() if "killed" in line)
    alone = small_benchmark.run(solver_names=["draws", "slow"], no_cache=True, **options)

    dead = rows["solver_name"] == "killed"
    pd.testing.assert_frame_equal(figures(rows[~dead]), figures(alone), check_exact=True)
    pd.testing.assert_frame_equal(figures(collected), figures(alone), check_exact=True)
    assert alone["objective_env_stand"].eq("process").all()  # and so it is in each kind of worker
    status = alone.set_index("solver_name")["objective_status"].to_dict()
    assert status == {"draws": "ok", "slow": "timeout"}
    lost = rows[dead].squeeze()
    assert lost["objective_status"] == "error"
    assert "the cell's process ended without a result" in lost["objective_message"]
    assert "retry: benchopt run" in lost["objective_message"]
    assert pd.isna(lost["objective_value"])
    assert lost["objective_env_host"] == "unknown"
    assert lost["objective_env_commit"] == alone["objective_env_commit"].iloc[0]


def test_slurm_gets_one_job_a_cell_and_one_gpu_a_job_in_arrays_that_it_takes(tmp_path, monkeypatch):
    scripts = tmp_path / "scripts"
    for name, text in {"srun": "", "sbatch": f"cat $1 >> {scripts}; echo Submitted batch job 7"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(dispatch, "ARRAY_SIZE", 2)
    monkeypatch.setattr(dispatch, "_ended", lambda jobs: [])
    benchmark = SimpleNamespace(get_slurm_folder=lambda: tmp_path / "jobs")
    plain, large = (SimpleNamespace(_parameters={}, slurm_params=own) for own in ({}, {"slurm_mem": "64GB"}))
    cells = [{"solver": solver, "timeout": None} for solver in (plain, large, plain, plain)]
    config = {name: value for name, value in CONFIGS["submitit"].items() if name != "backend"}
    assert list(dispatch.dispatch("submitit", benchmark, print, cells, config)) == []
    first, second, third = scripts.read_text().split("#!/bin/bash")[1:]
    for script in (first, second, third):
        wanted = "--gpus-per-node=1", "--nodes=1", "--ntasks-per-node=1", "--time=01:00:00", "--cpus-per-task=8"
        assert all(f"#SBATCH {option}\n" in script for option in wanted)
        assert "srun " in script
    assert "--array=0-1%2" in first
    assert ["--mem=64GB" in script for script in (first, second, third)] == [False, False, True]
    assert not any("--array" in script for script in (second, third))


class Job:
    """A job of SLURM's with these states, one at each look."""

    def __init__(self, number, *states):
        self.job_id, self.states = number, list(states)

    @property
    def state(self):
        return self.states[0]

    def done(self):
        return self.states[0] == "COMPLETED"


def test_a_preempted_job_that_is_not_queued_again_is_lost_and_one_that_is_is_not(monkeypatch):
    looks = int(dispatch.PREEMPTED_S / dispatch.LOOK_S)
    lost = Job(1, "RUNNING", "PREEMPTED")
    again = Job(2, "PREEMPTED", "PENDING", *["RUNNING"] * (2 * looks), "PREEMPTED", "PENDING", "COMPLETED")
    jobs = {lost: None, again: None}
    now = [1000.0]

    def sleep(seconds):
        now[0] += seconds
        for job in jobs:
            del job.states[: len(job.states) > 1]

    monkeypatch.setattr(dispatch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(dispatch.time, "sleep", sleep)
    (first, error), (second, nothing) = dispatch._ended(jobs)
    assert first is lost
    assert "preempted job 1 and did not queue it again" in str(error)
    assert second is again
    assert nothing is None


def test_a_run_that_is_killed_goes_on_where_it_was(small_benchmark):
    plant = """
    if step == 1:
        with open(f"{__file__}.{self.repetition}", "a") as file:
            file.write(".")
        if self.repetition == 1 and os.path.getsize(f"{__file__}.1") == 1:
            self.signal = signal.SIGKILL
    """
    small_benchmark.write(toy("run_once", {"mortal": (plant, "")}))
    options = {"repetitions": 3, "timeout": None}
    front = os.fork()
    if not front:
        small_benchmark.run(**options)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(front, 0)[1]) == -signal.SIGKILL
    assert len(small_benchmark.run(collect=True, **options)) == 1
    assert small_benchmark.run(**options)["objective_status"].tolist() == ["ok"] * 3
    begun = [len((small_benchmark.folder / "solvers" / f"mortal.py.{each}").read_text()) for each in range(3)]
    assert begun == [1, 2, 1]


def test_benchopts_own_dispatch_is_back_after_a_run():
    before = parallel_backends._dispatch
    with dispatch.contained_jobs():
        assert parallel_backends._dispatch is dispatch.dispatch
    assert parallel_backends._dispatch is before
    with pytest.raises(ZeroDivisionError), dispatch.contained_jobs():
        _ = 1 / 0
    assert parallel_backends._dispatch is before


def test_another_benchopt_is_named(monkeypatch):
    monkeypatch.delattr(parallel_backends, "_dispatch")
    with pytest.raises(RuntimeError, match=r"needs Benchopt 1\.10"), dispatch.contained_jobs():
        pass


@pytest.mark.parametrize(("code", "wanted"), [(0, 0), (3, 1)])
def test_the_command_hands_its_options_and_its_exit_code_on(monkeypatch, code, wanted):
    def benchopt(options, prog_name, standalone_mode):
        assert parallel_backends._dispatch is dispatch.dispatch
        assert options == ["run", "benchmark_muon", "-d", "digits", "--collect"]
        raise SystemExit(code)

    monkeypatch.setattr("orthobench.runs.run.benchopt", benchopt)
    assert cli.main(["run", "benchmark_muon", "-d", "digits", "--collect"]) == wanted
