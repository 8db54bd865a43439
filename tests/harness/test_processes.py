"""Processes that `torchrun` starts train together, and their rows say so."""

import os
import shutil
import socket
import subprocess
import sys

import pytest
import submitit
import torch
from benchopt.results import read_results
from conftest import ROOT, SmallBenchmark
from submitit.helpers import TorchDistributedEnvironment

from orthobench.harness import processes
from orthobench.harness.objective import cache_identity


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
    monkeypatch.setattr(processes, "_common_store", lambda host: torch.distributed.HashStore())
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **how: joined.append(how))
    processes.join_processes()
    assert [(how["rank"], how["world_size"]) for how in joined] == [(0, 4)]


def test_the_tasks_of_a_submitit_job_meet(tmp_path, monkeypatch):
    def meet():
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
        os.environ["MASTER_ADDR"] = "localhost"  # this machine's own name may lead nowhere
        processes.join_processes()
        total = torch.tensor(1.0 + processes.rank())
        torch.distributed.all_reduce(total)
        return processes.world_size(), processes.rank(), total.item()

    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    executor = submitit.LocalExecutor(tmp_path)
    executor.update_parameters(tasks_per_node=2, timeout_min=15)
    assert executor.submit(meet).results() == [(2, 0, 3.0), (2, 1, 3.0)]


def run_two(folder, options, expected=0):
    """Run a benchmark in two processes, as on two nodes with one each: torchrun is started twice; return their rows."""
    command = 'python=$1; shift; exec "$python" -m benchopt run "$@" --output "two_$RANK"'
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meeting = f"localhost:{free.getsockname()[1]}"
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    launch += ["--rdzv-backend", "c10d", "--rdzv-endpoint", meeting, "--rdzv-id", "two", "--local-addr", "localhost"]
    launch += ["--no-python", "bash", "-c", command, "_", sys.executable, str(folder), *options]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    nodes = [subprocess.Popen(launch, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    for node in nodes:
        _, errors = node.communicate(timeout=900)
        assert node.returncode == expected, errors
    return [read_results(folder / "outputs" / f"two_{rank}.parquet") for rank in (0, 1)]


DIES = """
import os
import signal

import torch
from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    name = "{name}"

    def optimizers(self, model):
        self.calls = 0
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.register_step_post_hook(self.hook)
        return [optimizer]

    def hook(self, *_):
        self.calls += 1
        if self.calls == 8 and os.environ["RANK"] == "1":
            {fault}
"""


def test_a_stand_that_dies_in_one_process_ends_the_cell_in_all_and_the_run_goes_on(tmp_path, contained):
    folder = tmp_path / "benchmark_two"
    for name in ("objective.py", "datasets/digits.py", "solvers/sgd.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "benchmark_muon" / name, folder / name)
    faults = {"a_killed": "os.kill(os.getpid(), signal.SIGKILL)", "b_raises": "raise RuntimeError('planted')"}
    for name, fault in faults.items():
        (folder / f"solvers/{name}.py").write_text(DIES.format(name=name, fault=fault))
    options = ["-d", "digits[steps=20,width=8]", "-n", "1", "-r", "1", "--no-timeout", "--no-plot", "--no-cache"]
    first, second = run_two(folder, options)
    for rows in (first, second):
        for name in faults:
            own = rows[rows["solver_name"] == name]
            assert own["objective_status"].tolist() == ["ok", "error"]
            assert own["objective_value"].isna().tolist() == [False, True]
        others = rows[~rows["solver_name"].isin(faults)]
        assert others["objective_status"].eq("ok").all()
        assert others["stop_val"].tolist() == [0, 10, 20]
    said = second.set_index("solver_name")["objective_message"]
    assert "SIGKILL" in said["a_killed"].iloc[-1]
    assert "planted" in said["b_raises"].iloc[-1]
    assert first["objective_value"].dropna().tolist() == second["objective_value"].dropna().tolist()


def test_two_processes_of_a_run_train_what_one_trains(tmp_path, contained):
    folder = tmp_path / "benchmark_two"
    for name in ("objective.py", "datasets/digits.py", "solvers/turbo_muon.py", "solvers/schatten_muon.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "benchmark_muon" / name, folder / name)
    solvers = ["Turbo-Muon[orthogonaliser=svd]", "Schatten-Muon[exponent=tightness,refresh_every=5]"]
    options = ["-d", "digits[steps=20,width=8]", *(each for solver in solvers for each in ("-s", solver))]
    options += ["-n", "1", "-r", "1", "--no-timeout", "--no-plot", "--no-cache"]
    first, second = run_two(folder, options)
    alone = SmallBenchmark(folder).run(dataset_names=["digits[steps=20,width=8]"], solver_names=solvers, timeout=None)
    assert alone["objective_env_processes"].eq(1).all()
    for rows in (first, second):
        assert rows["objective_status"].eq("ok").all()
        assert rows["objective_env_processes"].eq(2).all()
        assert rows["objective_value"].tolist() == first["objective_value"].tolist()
        assert rows["objective_exponents"].tolist() == first["objective_exponents"].tolist()
        assert rows["objective_value"].to_numpy() == pytest.approx(alone["objective_value"].to_numpy(), rel=0.02)
