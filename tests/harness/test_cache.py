"""What is computed again, and what isn't."""

import os
import pickle
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from conftest import ROOT
from toys import toy

from orthobench.harness import Unsaved
from orthobench.harness.objective import cache_identity

CELLS = ["-d", "gaussian[rows=16,columns=24,count=1]", "-o", "*[dtype=float32]", "-s", "Muon", "-s", "SVD"]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the root benchmark and of the package, and a way to run it in a process of its own."""
    for name in ("datasets", "solvers", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "objective.py", tmp_path)

    def run(*options, **environment):
        output = tmp_path / "rows.parquet"
        output.unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchopt", "run", ".", *CELLS, "--no-plot", "--output", str(output), *options]
        env = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "BENCHOPT_WARN_NONUNIQUE_FILES": "0"} | environment
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return pd.read_parquet(output).sort_values(["solver_name", "stop_val"]), done.stdout.count("(cached)")

    run.folder = tmp_path
    return run


def test_an_edit_of_the_package_recomputes_and_nothing_else_does(checkout):
    first, cached = checkout()
    assert cached == 0
    assert len(first) == 6
    for options in ([], ["--collect"], ["-j", "2"]):
        again, cached = checkout(*options)
        assert cached == 2, options
        assert again["time"].tolist() == first["time"].tolist()
        assert again["objective_env_package"].tolist() == first["objective_env_package"].tolist()

    for name in ("report/__init__.py", "studies/goals.py"):
        with open(checkout.folder / "src/orthobench" / name, "a") as file:
            file.write("# neither reports nor studies change a figure\n")
    assert checkout()[1] == 2

    with open(checkout.folder / "src/orthobench/linalg/recipes.py", "a") as file:
        file.write("# edited\n")
    edited, cached = checkout("-j", "2")
    assert cached == 0
    assert set(edited["objective_env_package"]) != set(first["objective_env_package"])
    # Computed by workers, the rows are found again by a sequential run: the key was the front process's.
    assert checkout()[1] == 2


def test_an_edit_of_a_solver_recomputes_its_cells_alone(small_benchmark):
    files = toy("run_once", {"edited": ("self.drawn = 1.0", ""), "other": ("self.drawn = time.time()", "")})
    first = small_benchmark.write(files).run().set_index("solver_name")["objective_drawn"]
    again = small_benchmark.run().set_index("solver_name")["objective_drawn"]
    assert again.to_dict() == first.to_dict()
    edited = files["solvers/edited.py"].replace("self.drawn = 1.0", "self.drawn = 2.0")
    rows = small_benchmark.write({"solvers/edited.py": edited}).run().set_index("solver_name")["objective_drawn"]
    assert rows.to_dict() == {"edited": 2.0, "other": first["other"]}


def test_threads_and_device_are_part_of_the_identity(monkeypatch):
    before = cache_identity()
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cuda")
    assert cache_identity() == before | {"device": "cuda"}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert cache_identity()["threads"] == threads + 1
    finally:
        torch.set_num_threads(threads)


def test_results_do_not_enter_the_cache(small_benchmark):
    """A result of 8 MB, for each strategy that caches it: the cache stays below a tenth of that."""
    files = toy("run_once", {"large": (None, "")})
    files |= {"solvers/iterative.py": toy("iteration", {"iterative": (None, "")})["solvers/iterative.py"]}
    files["objective.py"] = files["objective.py"].replace('"size": [8]', '"size": [2_000_000]')
    rows = small_benchmark.write(files).run()
    assert rows["objective_status"].eq("ok").all()
    stored = sum(path.stat().st_size for path in small_benchmark.folder.rglob("__cache__/**/*") if path.is_file())
    assert 0 < stored < 800_000


def test_what_is_unsaved_pickles_to_nothing():
    held = Unsaved(torch.zeros(10**6))
    assert len(pickle.dumps(held)) < 200
    assert pickle.loads(pickle.dumps(held)).value is None  # noqa: S301 - our own bytes
