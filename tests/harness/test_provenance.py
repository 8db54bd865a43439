"""Each row says what computed it."""

import hashlib
import subprocess

import torch
from conftest import ROOT
from toys import toy

from orthobench.provenance import environment


def test_every_row_carries_its_environment_failed_ones_too(small_benchmark):
    small_benchmark.write(toy("iteration", {"honest": (None, ""), "broken": ("raise ValueError", "")}))
    rows = small_benchmark.run()
    names = "python benchopt torch cuda cudnn driver host device device_name threads commit dirty package lock stand"
    for name in names.split():
        column = rows[f"objective_env_{name}"]
        assert column.notna().all()
        assert column.nunique() == 1
    assert rows["objective_env_torch"].iloc[0] == torch.__version__


def test_commit_and_dirt_are_those_of_the_benchmarks_repository(tmp_path):
    folder = tmp_path / "benchmark"
    folder.mkdir()
    outside = environment(str(folder))
    assert (outside["env_commit"], outside["env_dirty"], outside["env_lock"]) == ("unknown", True, "none")

    def git(*arguments):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        return subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)

    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    environment.cache_clear()
    clean = environment(str(folder))
    assert clean["env_commit"] == git("rev-parse", "HEAD").stdout.strip()
    assert clean["env_dirty"] is False
    assert clean["env_lock"] == hashlib.sha256(b"torch==2.13.0\n").hexdigest()[:16]

    assert environment(str(folder)) is clean  # once a process
    (tmp_path / "new").touch()
    environment.cache_clear()
    assert environment(str(folder))["env_dirty"] is True


def test_the_lock_of_this_repository_is_found_from_a_nested_benchmark():
    expected = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()[:16]
    assert environment(str(ROOT / "solvers"))["env_lock"] == expected
