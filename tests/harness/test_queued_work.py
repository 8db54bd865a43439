"""Work that a solver leaves in the device's queue is billed to its own cell, and to no other."""

import time

import pytest
import torch

from orthobench.harness import clock

DATA = ["gaussian[rows=16,columns=24,count=1]"]
QUEUED_S = 0.3
CYCLES = 500_000_000  # of a kernel that does nothing: a quarter of a second, or more
SOLVER = '''
import torch

from orthobench.harness import IterativeOrthogonaliser, clock
from orthobench.linalg import newton_schulz


class Solver(IterativeOrthogonaliser):
    """Queues work, and returns at once."""

    name = "{name}"
    steps = 1

    def orthogonalise(self, matrices, steps):
        {queue}
        return newton_schulz(matrices, "muon", 1)
'''


def rows_of(root_copy, queue):
    """Run a solver that queues work after and before one that doesn't; return their rows by name."""
    names = ("A honest", "B slow", "C honest")
    for name in names:
        source = SOLVER.format(name=name, queue=queue if name == "B slow" else "")
        root_copy.write({f"solvers/{name[0].lower()}_queued.py": source})
    rows = root_copy.run(dataset_names=DATA, solver_names=list(names), repetitions=2)
    assert rows["objective_status"].eq("ok").all()
    return {name: rows[rows["solver_name"] == name]["objective_time_per_matrix_s"] for name in names}


def test_queued_work_is_billed_to_the_cell_that_queued_it(root_copy, monkeypatch):
    """With a queue of our own, which waits for nothing until somebody synchronises."""
    queue = []

    def drain(device):
        while queue:
            time.sleep(queue.pop())

    monkeypatch.setattr(clock, "synchronize", drain)
    monkeypatch.setattr(clock, "QUEUE", queue, raising=False)
    times = rows_of(root_copy, f"clock.QUEUE.append({QUEUED_S})")
    assert times["B slow"].min() >= QUEUED_S
    assert max(times["A honest"].min(), times["C honest"].min()) < QUEUED_S


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_slow_kernel_is_billed_to_the_cell_that_queued_it(root_copy, monkeypatch):
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cuda")
    device = torch.device("cuda", torch.cuda.current_device())
    stopwatch = clock.Stopwatch(device)
    stopwatch.start()
    torch.cuda._sleep(CYCLES)
    queued_s = stopwatch.reading_s()
    stopwatch.stop()
    assert queued_s < 0.1 * stopwatch.elapsed_s
    times = rows_of(root_copy, f"torch.cuda._sleep({CYCLES})")
    assert times["B slow"].median() == pytest.approx(stopwatch.elapsed_s, rel=0.05)
    assert max(times["A honest"].max(), times["C honest"].max()) < 0.2 * stopwatch.elapsed_s
