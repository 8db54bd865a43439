"""Work that a solver leaves in the device's queue is billed to its own cell, and to no other."""

from pathlib import Path

import pytest
import torch

from orthobench.device import Stopwatch
from orthobench.harness.orthogonalisation.cell import MatricesCell

DATA = ["gaussian[rows=16,columns=24,count=1]"]
QUEUED_S = 2.0**-9  # no more than questions take, as far as the bench can tell
TICK_S = 2.0**-10  # of `planted_role`'s clock
CYCLES = 500_000_000  # of a kernel that does nothing: a quarter of a second, or more
SOLVER = '''
import torch

from orthobench.harness import IterativeOrthogonaliser
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
    """With a queue of our own, which waits for nothing until somebody synchronises; nothing else takes time."""
    monkeypatch.setattr(MatricesCell, "role", "planted_role:QueueRole")
    monkeypatch.syspath_prepend(Path(__file__).parent / "stand")
    times = rows_of(root_copy, f"import planted_role; planted_role.QUEUE.append({QUEUED_S})")
    assert times["B slow"].eq(QUEUED_S + TICK_S).all()
    assert times["A honest"].eq(TICK_S).all()
    assert times["C honest"].eq(TICK_S).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_slow_kernel_is_billed_to_the_cell_that_queued_it(root_copy, monkeypatch):
    monkeypatch.setenv("ORTHOBENCH_DEVICE", "cuda")
    device = torch.device("cuda", torch.cuda.current_device())
    stopwatch = Stopwatch(device)
    stopwatch.start()
    torch.cuda._sleep(CYCLES)
    queued_s = stopwatch.reading_s()
    stopwatch.stop()
    assert queued_s < 0.5 * stopwatch.elapsed_s
    times = rows_of(root_copy, f"torch.cuda._sleep({CYCLES})")
    # Once, not twice or never; a kernel that were billed to another cell would take it as long.
    assert times["B slow"].between(0.7 * stopwatch.elapsed_s, 1.5 * stopwatch.elapsed_s).all()
    assert max(times["A honest"].max(), times["C honest"].max()) < 0.5 * stopwatch.elapsed_s
