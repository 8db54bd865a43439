"""`benchopt test` passes on what is here (`make test` runs it) and fails on a broken solver."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

BROKEN = """
from orthobench.harness import DirectOrthogonaliser


class Solver(DirectOrthogonaliser):
    name = "Broken"

    def orthogonalise(self, matrices):
        return [matrix[:, 1:] for matrix in matrices]
"""


def benchopt_test(folder, *options):
    # `benchopt test` starts `python`.
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "benchopt", "test", str(folder), "--skip-install", *options]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=600)


def test_a_broken_solver_fails_benchopt_test_although_benchopt_run_contains_it(tmp_path):
    for name in ("datasets/gaussian.py", "solvers/svd.py", "solvers/muon.py", "objective.py", "test_config.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "solvers/broken.py").write_text(BROKEN)
    done = benchopt_test(tmp_path, "-k", "test_solver_run")
    assert done.returncode != 0
    assert "has shape (16, 23), expected (16, 24)" in done.stdout
    assert "1 failed, 2 passed" in done.stdout


def test_benchmark_muon_passes(tmp_path):
    folder = tmp_path / "benchmark_muon"
    ignored = shutil.ignore_patterns("__pycache__", "__cache__", "outputs", "html")
    shutil.copytree(ROOT / "benchmark_muon", folder, ignore=ignored)
    done = benchopt_test(folder)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert " failed" not in done.stdout
    # No solver is left out because the network that it is tested on has nothing for it.
    assert "it would be AdamW alone" not in done.stdout
