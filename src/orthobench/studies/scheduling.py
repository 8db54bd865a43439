"""What running cells costs beside their work: processor time and files a cell, for each way to run them.

``orthobench study scheduling`` runs a benchmark whose solver does nothing, fits a line to the processor
time that all its processes take, and prints it in units of what a cell adds to the sequential run, with what the line
gives for more cells than were run. Waiting (in SLURM's queue, for a file to appear) is not in it.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from ..harness.stand.cells import RunOnceCell

SEQUENTIAL = "sequential"
TOTALS = (10, 1_000, 100_000)
ROWS = 100_000
ENGINES = {
    SEQUENTIAL: None,
    "loky": {"backend": "loky"},
    "dask": {
        "backend": "dask",
        "dask_threads_per_worker": 1,
        "dask_memory_limit": 0,
        "dask_dashboard_address": None,
    },
    "submitit": {"backend": "submitit", "slurm_time": "00:10:00"},
}

FILES = {
    "objective.py": """
from orthobench.harness import Objective as Base

class Objective(Base):
    name = "nothing"

    def set_data(self):
        pass

    def get_objective(self):
        return {}

    def evaluate(self):
        return {"value": 0.0}

    def get_one_result(self):
        return {}
""",
    "datasets/nothing.py": """
from benchopt import BaseDataset

class Dataset(BaseDataset):
    name = "nothing"

    def get_data(self):
        return {}
""",
    "solvers/nothing.py": """
from orthobench.studies.scheduling import Nothing

class Solver(Nothing):
    name = "nothing"
    parameters = {"number": COUNT}
""",
}


class Nothing:
    """The base of the solver that does nothing."""

    cell = "orthobench.studies.scheduling:NothingCell"
    yours = ()


class NothingCell(RunOnceCell):
    """A cell without a stand."""

    def skip(self):
        """Skip nothing, and start nothing."""
        self._outcomes = None
        return False, None

    def compute_points(self):
        """Return the only point, without a figure."""
        return {1: {}}


class Cost(NamedTuple):
    """Of one run: cells, processor seconds of all its processes, files and bytes in its cache and its jobs' folder."""

    cells: int
    seconds: float
    files: int
    size: int


class Line(NamedTuple):
    """``start + slope * cells``."""

    start: float
    slope: float

    def at(self, cells):
        """Return the line's value."""
        return self.start + self.slope * cells


def fit(cells, values):
    """Fit a line by least squares.

    Raises
    ------
    ValueError
        If there are fewer than two different numbers of cells.
    """
    if len(set(cells)) < 2:
        raise ValueError(f"a line needs two different numbers of cells, got {sorted(set(cells))}: give more to --cells")
    slope, start = np.polyfit(cells, values, 1)
    return Line(float(start), float(slope))


def write_benchmark(folder, cells):
    """Write a benchmark of ``cells`` cells that do nothing into ``folder``."""
    for name, text in FILES.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("COUNT", str(list(range(cells)))))


def measure(engine, cells, workers, folder):
    """Run the benchmark that does nothing, in a process of its own and from an empty cache.

    Parameters
    ----------
    engine : str
        A key of ``ENGINES``.
    cells, workers : int
    folder : str or pathlib.Path
        An empty folder; the rows are in its ``rows.parquet`` afterwards.

    Returns
    -------
    Cost

    Raises
    ------
    RuntimeError
        If the run fails or lacks rows; with its last lines.
    """
    folder = Path(folder)
    write_benchmark(folder, cells)
    command = ["-m", "benchopt", "run"]
    options = ["--no-timeout", "--no-plot", "--output", str(folder / "rows.parquet")]
    if ENGINES[engine] is not None:
        command = ["-m", "orthobench", "run"]
        path = folder / "engine.yml"
        path.write_text(yaml.safe_dump(ENGINES[engine] | _workers(engine, workers)))
        options += ["--parallel-config", str(path)]
    environment = os.environ | {"BENCHOPT_CACHE": str(folder / "cache")}
    start = _processor_seconds()
    done = subprocess.run(
        [sys.executable, *command, str(folder), *options], env=environment, capture_output=True, text=True
    )
    seconds = _processor_seconds() - start
    rows = pd.read_parquet(folder / "rows.parquet") if done.returncode == 0 else pd.DataFrame()
    good = int(rows["objective_status"].eq("ok").sum()) if len(rows) else 0
    if good != cells:
        last = " | ".join((done.stdout + done.stderr).splitlines()[-5:])
        raise RuntimeError(f"{engine} gave {good} rows for {cells} cells: {last}")
    left = [path for name in ("cache", "benchopt_run") for path in (folder / name).rglob("*") if path.is_file()]
    return Cost(cells, seconds, len(left), sum(path.stat().st_size for path in left))


def _processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # those that have ended, and their own
    return used.ru_utime + used.ru_stime


def _workers(engine, workers):
    return {"loky": {"n_jobs": workers}, "dask": {"dask_n_workers": workers}}.get(engine, {})


def unit_of(costs):
    """Return the processor seconds that a cell adds to the sequential run.

    Raises
    ------
    RuntimeError
        If that is lost in the noise of the measurement.
    """
    unit = fit([cost.cells for cost in costs[SEQUENTIAL]], [cost.seconds for cost in costs[SEQUENTIAL]]).slope
    if unit <= 0:
        raise RuntimeError("more cells took no more time: give larger numbers to --cells")
    return unit


def time_lines(costs, cell_seconds):
    """Yield the lines of the report about time.

    Parameters
    ----------
    costs : dict of str to list of Cost
        By engine, the sequential run among them, whose time a cell is the unit.
    cell_seconds : float
        How long a cell works, for the shares.

    Yields
    ------
    str
    """
    lines = {engine: fit([c.cells for c in own], [c.seconds for c in own]) for engine, own in costs.items()}
    unit = unit_of(costs)
    yield (
        f"processor time in units of what a cell adds to the sequential run, {unit / cell_seconds:.2%} of a cell's "
        f"{cell_seconds:g} s"
    )
    for engine, line in lines.items():
        totals = [
            f"{'' if cells <= max(c.cells for c in costs[engine]) else 'extrapolated '}{line.at(cells) / unit:,.0f} "
            f"for {cells:,} cells ({line.at(cells) / cells / cell_seconds:.2%} of their work)"
            for cells in TOTALS
        ]
        yield f"{engine}: start {line.start / unit:,.0f}, each cell {line.slope / unit:.2f}; {'; '.join(totals)}"


def storage_lines(costs):
    """Yield the lines of the report about files; see :func:`time_lines`."""
    for engine, own in costs.items():
        cells = [cost.cells for cost in own]
        files, size = fit(cells, [cost.files for cost in own]), fit(cells, [cost.size for cost in own])
        last = TOTALS[-1]
        yield (
            f"{engine}: each cell leaves {files.slope:.1f} files and {size.slope / 1e3:.1f} kB; extrapolated "
            f"{files.at(last):,.0f} files and {size.at(last) / 1e9:.2f} GB for {last:,} cells"
        )


def result_line(rows, count, unit):
    """Return what a result file of ``count`` rows takes: memory, bytes, and time in units of ``unit`` seconds.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of a run; they are repeated, each as a cell of its own.
    count : int
    unit : float
    """
    frame = rows.iloc[np.arange(count) % len(rows)].reset_index(drop=True)
    frame["solver_name"] = [f"nothing[cell={cell}]" for cell in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        start = time.process_time()
        frame.to_parquet(path)
        written = time.process_time()
        pd.read_parquet(path)
        read = time.process_time()
        size = path.stat().st_size
    memory = frame.memory_usage(deep=True).sum()
    return (
        f"a result of {count:,} rows: {memory / 1e6:,.0f} MB in memory, {size / 1e6:,.1f} MB on disk; written in the "
        f"time of {(written - start) / unit:,.1f} cells, read in that of {(read - written) / unit:,.1f}"
    )


def main(arguments):
    """Print the report."""
    costs = {}
    # The unit comes from the sequential run, asked for or not.
    for engine in dict.fromkeys([SEQUENTIAL, *arguments.backend]):
        costs[engine] = []
        for cells in arguments.jobs if engine == "submitit" else arguments.cells:
            with tempfile.TemporaryDirectory() as folder:
                costs[engine].append(measure(engine, cells, arguments.workers, folder))
                if engine == SEQUENTIAL:
                    rows = pd.read_parquet(Path(folder) / "rows.parquet")
    unit = unit_of(costs)
    for line in (*time_lines(costs, arguments.cell_seconds), *storage_lines(costs), result_line(rows, ROWS, unit)):
        print(line, flush=True)
