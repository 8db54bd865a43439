"""The clock covers the method's work alone, and the device is idle at each reading."""

import math
import os
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from conftest import ROOT, SmallBenchmark
from toys import STRATEGIES, toy

from orthobench import device
from orthobench.device import Stopwatch, resolve_device
from orthobench.linalg.products import count_products, plain_product_rate

CPU = torch.device("cpu")


def test_the_device_is_synchronised_before_each_reading(monkeypatch):
    """What is queued is billed to the method that queued it, not to whoever reads next."""
    queue, now = [], [0.0]

    def drain(_):
        while queue:
            now[0] += queue.pop()

    monkeypatch.setattr(device, "synchronize", drain)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    queue.append(1.5)  # left by somebody else: not billed
    stopwatch = Stopwatch(CPU)
    stopwatch.start()
    queue.append(0.25)
    assert stopwatch.reading_s() == 0  # it doesn't wait
    stopwatch.stop()
    now[0] += 0.5
    assert stopwatch.elapsed_s == stopwatch.reading_s() == 0.25


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_warm_up_and_evaluation_are_not_billed(small_benchmark, strategy):
    files = toy(strategy, {"warm": ("time.sleep(0.01)", "def prepare(self): time.sleep(1.5)")})
    seconds = small_benchmark.write(files).run()["objective_seconds"]
    steps = {"iteration": [1, 2, 3, 4], "callback": [0, 1, 1, 1, 1], "run_once": [4]}[strategy]
    assert all(0.01 * count <= each < 1.5 for each, count in zip(seconds, steps, strict=True))


def test_products_are_counted_with_their_batch():
    x, batch = torch.randn(4, 6), torch.randn(3, 4, 6)
    assert count_products(lambda: x @ x.mT) == (1, 2 * 4 * 4 * 6)
    assert count_products(lambda: batch @ batch.mT) == (3, 3 * 2 * 4 * 4 * 6)
    assert count_products(lambda: torch.addmm(x @ x.mT, x, x.mT)) == (2, 2 * 2 * 4 * 4 * 6)


@pytest.mark.parametrize("method", [torch.linalg.svd, torch.linalg.qr, torch.linalg.inv, lambda x: x + 1])
def test_work_that_is_no_product_has_no_count(method):
    x = torch.randn(5, 5)
    assert all(math.isnan(value) for value in count_products(lambda: method(x)))


def test_the_rate_of_a_plain_product_is_that_of_the_machine():
    rate = plain_product_rate(((256, 256), (256, 256)), torch.float32, CPU)
    x = torch.randn(2, 256, 256)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        x @ x.mT
        times.append(time.perf_counter() - start)
    assert 0.05 < rate * sorted(times)[4] / (2 * 2 * 256**3) < 20


def test_a_missing_device_is_named_with_those_that_exist(monkeypatch):
    with pytest.raises(ValueError, match=r"device 'cuda:99' is not available: this machine offers auto, cpu"):
        resolve_device("cuda:99")
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "tpu")
    with pytest.raises(ValueError, match=r"'tpu'.*set ORTHOBENCH_DEVICE"):
        resolve_device()
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "CPU ")
    assert resolve_device() == CPU
    monkeypatch.delenv("ORTHOBENCH_DEVICE")
    assert resolve_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_missing_device_is_a_row(root_copy, monkeypatch):
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cuda:99")
    rows = root_copy.run(dataset_names=["gaussian[rows=16,columns=24]"], solver_names=["SVD", "Muon"])
    assert rows["objective_status"].eq("error").all()
    assert rows["objective_message"].str.contains("device 'cuda:99' is not available").all()
    assert set(rows["solver_name"]) == {"SVD", "Muon"}


@pytest.mark.parametrize("threads", ["0", "two", "-1", ""])
def test_a_bad_number_of_threads_is_named(threads):
    done = subprocess.run(
        [sys.executable, "-c", "import orthobench.harness"],
        env=os.environ | {"ORTHOBENCH_THREADS": threads},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert f"ORTHOBENCH_THREADS='{threads}': expected a positive integer" in done.stderr


def test_the_number_of_threads_is_set_at_import():
    code = "import orthobench.harness, torch; print(torch.get_num_threads())"
    for given, expected in ((None, "1"), ("2", "2")):
        env = {name: value for name, value in os.environ.items() if name != "ORTHOBENCH_THREADS"}
        env |= {} if given is None else {"ORTHOBENCH_THREADS": given}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def test_honest_rows_of_several_threads_are_ok(tmp_path):
    """OpenMP's threads spin for milliseconds after each question: no work that anybody hides."""
    folder, small = ROOT / "benchmark_muon", SmallBenchmark(tmp_path / "small")
    names = ("objective.py", "datasets/digits.py", "solvers/adamw.py", "solvers/soap.py")
    small.write({name: (folder / name).read_text() for name in names})
    command = [
        "benchopt",
        "run",
        str(small.folder),
        "-d",
        "digits[steps=40]",
        "-r",
        "3",
        "--no-plot",
        "--output",
        "run",
    ]
    environment = os.environ | {"ORTHOBENCH_THREADS": "2"}
    done = subprocess.run([sys.executable, "-m", *command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(next(small.folder.glob("outputs/*.parquet")))
    assert len(rows.groupby(["solver_name", "idx_rep"])) == 6
    assert set(zip(rows["objective_status"], rows["objective_message"], strict=True)) == {("ok", "")}
