"""Processes that `torchrun` starts train together, and their rows say so."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from benchopt.results import read_results
from conftest import ROOT, SmallBenchmark

from orthobench.harness import processes
from orthobench.harness.provenance import cache_identity


def test_a_process_by_itself_stays_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")  # some clusters set it for every job
    processes.join_processes()
    assert processes.process_group() is None
    assert processes.world_size() == cache_identity()["processes"] == 1


def test_the_number_of_processes_is_known_before_they_meet(monkeypatch):
    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500", "RANK": "0", "WORLD_SIZE": "4"}.items():
        assert processes.world_size() == 1
        monkeypatch.setenv(name, value)
    assert processes.world_size() == cache_identity()["processes"] == 4
    joined = []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda: joined.append(True))
    processes.join_processes()
    assert joined == [True]


def test_two_processes_of_a_run_train_what_one_trains(tmp_path, contained):
    folder = tmp_path / "benchmark_two"
    for name in ("objective.py", "datasets/digits.py", "solvers/turbo_muon.py", "solvers/schatten_muon.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "benchmark_muon" / name, folder / name)
    solvers = ["Turbo-Muon[orthogonaliser=svd]", "Schatten-Muon[exponent=tightness,refresh_every=5]"]
    options = ["-d", "digits[steps=20,width=8]", *(each for solver in solvers for each in ("-s", solver))]
    options += ["-n", "1", "-r", "1", "--no-timeout", "--no-plot", "--no-cache"]
    command = 'python=$1; shift; exec "$python" -m benchopt run "$@" --output "two_$RANK"'
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    launch += ["bash", "-c", command, "_", sys.executable, str(folder), *options]
    subprocess.run(launch, check=True, capture_output=True, env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"}, timeout=900)
    alone = SmallBenchmark(folder).run(dataset_names=["digits[steps=20,width=8]"], solver_names=solvers, timeout=None)
    first, second = (read_results(folder / "outputs" / f"two_{rank}.parquet") for rank in (0, 1))
    assert alone["objective_env_processes"].eq(1).all()
    for rows in (first, second):
        assert rows["objective_status"].eq("ok").all()
        assert rows["objective_env_processes"].eq(2).all()
        assert rows["objective_value"].tolist() == first["objective_value"].tolist()
        assert rows["objective_exponents"].tolist() == first["objective_exponents"].tolist()
        assert rows["objective_value"].to_numpy() == pytest.approx(alone["objective_value"].to_numpy(), rel=0.02)
