"""Small benchmarks for the tests: real Benchopt runs, in this process, on folders that a test fills."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from benchopt.benchmark import Benchmark
from benchopt.results import read_results
from benchopt.runner import run_benchmark

from orthobench.harness import raise_failures  # also sets torch's threads, as in every run

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory):
    """Keep the tests out of the user's cache."""
    previous = os.environ.get("ORTHOBENCH_CACHE")
    os.environ["ORTHOBENCH_CACHE"] = str(tmp_path_factory.mktemp("orthobench_cache"))
    yield
    if previous is None:
        del os.environ["ORTHOBENCH_CACHE"]
    else:
        os.environ["ORTHOBENCH_CACHE"] = previous


@pytest.fixture
def wide_terminal(monkeypatch):
    """A terminal in which no line of a report wraps, and no table leaves out a column."""
    monkeypatch.setenv("COLUMNS", "2000")


@pytest.fixture
def has_bfloat16(monkeypatch):
    """Return a function that makes the CPU one with or without instructions for bfloat16, as far as we look."""

    def pretend(answer):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: answer)

    return pretend


@pytest.fixture
def contained():
    """Contain failures as rows, as in `benchopt run`."""
    raise_failures(False)


class SmallBenchmark:
    """A benchmark in a folder, and how to run it."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def write(self, files):
        """Write ``files``, a dict of relative path to text."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def run(self, output="run", repetitions=1, **options):
        """Run it and return its rows."""
        path = self.folder / f"{output}.parquet"
        path.unlink(missing_ok=True)
        Benchmark(self.folder)  # the running benchmark is a global of Benchopt
        run_benchmark(
            self.folder,
            n_repetitions=repetitions,
            plot_result=False,
            show_progress=False,
            output_file=str(path),
            **options,
        )
        return read_results(path)


@pytest.fixture
def small_benchmark(tmp_path, contained):
    """An empty folder for a benchmark."""
    return SmallBenchmark(tmp_path / "benchmark_small")


@pytest.fixture
def root_copy(tmp_path, contained):
    """The root benchmark's own files in a folder of the test's."""
    folder = tmp_path / "root_copy"
    folder.mkdir()
    shutil.copy(ROOT / "objective.py", folder)
    for name in ("datasets", "solvers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return SmallBenchmark(folder)
