"""What is lost when a run is killed: cells, figures, or processes that go on without it.

``orthobench study killed-runs --kills 50`` runs a small benchmark by three commands in turn, kills each run at a
random time, gives its command again until it finishes, and compares the rows with those of an undisturbed run.
"""

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from .goals import Figure
from .stand import differences

MARK = "ORTHOBENCH_KILLS"
COMMANDS = {
    "benchopt run": ("benchopt", "run"),
    "benchopt run -j 2": ("benchopt", "run", "-j", "2"),
    "orthobench run -j 2": ("orthobench", "run", "--keep-going", "-j", "2"),
}
TARGETS = ("the front process", "its process group")
PATIENCE_S = 5.0  # for processes to end after a kill
LONGER_S = 60.0  # until those that are left then count as there to stay
LIMIT_S = 900.0  # for a run, on a busy machine
ATTEMPTS = 5

OBJECTIVE = '''"""How far is a matrix from an orthogonal one?"""

import torch

from orthobench.harness import Objective as Base
from orthobench.harness import check_tensors
from orthobench.linalg import spectral_errors


class Objective(Base):
    """Orthogonalise tiny matrices."""

    name = "tiny"

    def set_data(self, names, matrices, factors, limits):
        self.matrices, self.factors = matrices, factors

    def get_objective(self):
        return {"matrices": self.matrices, "dtype": "float32", "exponent": 0}

    def evaluate(self, outputs, products, flops, **_):
        check_tensors(outputs, [each.shape for each in self.matrices], torch.float32, torch.device("cpu"))
        errors = [spectral_errors(output, exact) for output, exact in zip(outputs, self.factors, strict=True)]
        value = max(each["relative_error"] for each in errors)
        return {"value": value, "gap": errors[0]["lmo_gap"], "products": products, "flops": flops}

    def get_one_result(self):
        return {"outputs": [each.polar.float() for each in self.factors], "products": 0.0, "flops": 0.0}
'''
DATASET = '''"""Tiny gaussian matrices."""

import torch

from orthobench.harness import MatrixDataset


class Dataset(MatrixDataset):
    """Two of them."""

    name = "gaussian"
    parameters = {"size": [6, 10]}

    def matrices(self, seed):
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(self.size, 12, generator=generator) for _ in range(2)]
'''
SOLVER = '''"""{name}."""

import torch

from orthobench.harness import {base}
from orthobench.linalg import newton_schulz, polar_factor, qr_factor


class Solver({base}):
    """Of the tiny benchmark."""

    name = "{name}"
    {steps}

    def orthogonalise(self, matrices{argument}):
        {body}
'''
DIRECT = {
    "exact": "return [polar_factor(each) for each in matrices]",
    "qr": "return qr_factor(matrices)",
    "random": "return [torch.randn(each.shape) for each in matrices]",
    "fails": 'raise RuntimeError("this solver fails")',
}
ITERATIVE = {
    "muon": 'return newton_schulz(matrices, "muon", steps)',
    "stops": "return [each / each.norm() / (steps < 3) for each in matrices]",
}


def write_benchmark(folder):
    """Write a benchmark of short cells into a folder, some of which end with other rows than ``ok``."""
    files = {"objective.py": OBJECTIVE, "datasets/gaussian.py": DATASET}
    for name, body in DIRECT.items():
        text = SOLVER.format(name=name, base="DirectOrthogonaliser", steps="", argument="", body=body)
        files[f"solvers/{name}.py"] = text
    for name, body in ITERATIVE.items():
        text = SOLVER.format(
            name=name, base="IterativeOrthogonaliser", steps="steps = 4", argument=", steps", body=body
        )
        files[f"solvers/{name}.py"] = text
    for name, text in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# --- processes -------------------------------------------------------------------------------------------------------


class Process(NamedTuple):
    """A process of this machine; with the time of its start, for numbers are used again."""

    number: int
    started: int


def alive():
    """Return the parent's number of each process that has not ended, by `Process`."""
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name before may hold anything, brackets too.
            fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] not in (b"Z", b"X"):
                found[Process(int(name), int(fields[19]))] = int(fields[1])
    return found


def below(number):
    """Return the processes that a process has started, directly or not."""
    parents, found, waiting = alive(), set(), [number]
    while waiting:
        parent = waiting.pop()
        children = {each for each, its in parents.items() if its == parent} - found
        found |= children
        waiting += [each.number for each in children]
    return found


def marked(token, folder, known=()):
    """Return the processes of a run that have not ended.

    Parameters
    ----------
    token : str
        What the run has in its environment, which all that it starts inherit.
    folder : path
        What those that don't show their environment may name in their command line.
    known : collection of Process
        Others that belong to it.

    Returns
    -------
    set of Process
    """
    wanted, found = f"{MARK}={token}".encode(), set()
    for each in alive():
        try:
            is_ours = wanted in Path(f"/proc/{each.number}/environ").read_bytes().split(b"\0")
        except OSError:  # gone, or closed to this user, as the server is
            is_ours = os.fsencode(folder) in _command_line(each)
        if is_ours or each in known:
            found.add(each)
    return found


def _command_line(process):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process.number}/cmdline").read_bytes()
    return b""


def left_over(token, folder, known, patience_s):
    """Return the processes of a run that are still there after some seconds; see :func:`marked`."""
    deadline = time.monotonic() + patience_s
    while (found := marked(token, folder, known)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _describe(process):
    return _command_line(process).replace(b"\0", b" ").decode(errors="replace")[:150]


# --- runs ------------------------------------------------------------------------------------------------------------


@dataclass
class Runs:
    """Runs of one benchmark by one command, with a cache of their own.

    Attributes
    ----------
    benchmark : pathlib.Path
    folder : pathlib.Path
        For caches, rows and log.
    command : tuple of str
        A module, and what it is given before the benchmark.
    repetitions : int
    token : str
        In the environment of all their processes.
    """

    benchmark: Path
    folder: Path
    command: tuple
    repetitions: int
    token: str = ""

    def __post_init__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.token = self.token or uuid.uuid4().hex

    @property
    def output(self):
        """The file of the rows."""
        return self.folder / "rows.parquet"

    def start(self):
        """Start a run as the first process of a group of its own."""
        # Benchopt would write beside a file of an earlier run, which may not be whole.
        self.output.unlink(missing_ok=True)
        module, subcommand, *options = self.command
        options += ["-r", str(self.repetitions), "--no-timeout", "--no-plot", "--output", str(self.output)]
        environment = {
            MARK: self.token,
            "BENCHOPT_CACHE": str(self.folder / "benchopt_cache"),
            "ORTHOBENCH_CACHE": str(self.folder / "orthobench_cache"),
            "ORTHOBENCH_DEVICE": "cpu",
        }
        with open(self.folder / "log.txt", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", module, subcommand, str(self.benchmark), *options],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self):
        """Give the command until it finishes; return its rows.

        Raises
        ------
        RuntimeError
            If it fails as often as it is given; with the last lines of its output.
        """
        for _ in range(ATTEMPTS):
            process = self.start()
            try:
                process.wait(LIMIT_S)
            except BaseException:
                self.end_all()
                process.wait()
                raise
            if process.returncode == 0 and self.output.is_file():
                return pd.read_parquet(self.output)
        last = " | ".join((self.folder / "log.txt").read_text(errors="replace").splitlines()[-5:])
        raise RuntimeError(f"{' '.join(self.command)} failed {ATTEMPTS} times: {last}")

    def kill(self, after_s, target, patience_s=PATIENCE_S):
        """Start a run and kill it.

        Parameters
        ----------
        after_s : float
            After so many seconds.
        target : str
            One of `TARGETS`.
        patience_s : float
            What processes have to end.

        Returns
        -------
        set of Process or None
            Those that were still there then; None if the run had finished before.
        """
        process = self.start()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after_s)
            known = below(process.pid)
            if process.poll() is not None:
                return None
            (os.killpg if target == TARGETS[1] else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            return left_over(self.token, self.folder, known, patience_s)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def end_all(self, more=()):
        """End every process of these runs that is still there."""
        for each in marked(self.token, self.folder, more):
            with contextlib.suppress(OSError):
                os.kill(each.number, signal.SIGKILL)


def study(kills, seed, repetitions, patience_s=PATIENCE_S):
    """Yield what kills leave: a line for each that leaves something, then the figures.

    Parameters
    ----------
    kills : int
        Of all commands together, which take turns.
    seed : int
        Of the times, and of what is killed.
    repetitions : int
        Of the benchmark's cells.
    patience_s : float
        What processes have to end after a kill.

    Yields
    ------
    str or Figure
    """
    generator = random.Random(seed)
    rows = figures = processes = 0
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Path(folder) / "benchmark_tiny"
        write_benchmark(benchmark)
        reference, durations_s = None, {}
        # Without many kills, one undisturbed run has to do for all commands; those with workers take longer.
        for name in COMMANDS if kills > 2 * len(COMMANDS) else list(COMMANDS)[:1]:
            start = time.monotonic()
            found = Runs(benchmark, Path(folder) / f"undisturbed_{len(durations_s)}", COMMANDS[name], repetitions)
            found = found.finish()
            durations_s[name] = time.monotonic() - start
            reference = found if reference is None else reference
            apart = differences(found, reference)
            if apart.lost + apart.doubled + apart.count:
                yield f"undisturbed {name}: {apart.lost} rows lost, {apart.doubled} doubled"
                yield from apart.lines()
            yield (
                f"{name}, undisturbed: {len(found)} rows with {apart.compared:,} figures, in {durations_s[name]:.1f} s"
            )
        for number, (name, command) in zip(range(kills), itertools.cycle(COMMANDS.items()), strict=False):
            runs = Runs(benchmark, Path(folder) / f"kill_{number}", command, repetitions)
            target, left = generator.choice(TARGETS), None
            while left is None:
                after_s = generator.uniform(0.0, durations_s.setdefault(name, max(durations_s.values())))
                left = runs.kill(after_s, target, patience_s)
                if left is None:  # it takes less time than was thought
                    durations_s[name] = after_s
                    shutil.rmtree(runs.folder)
                    runs.folder.mkdir()
            said = [_told(runs, left)] if left else []
            runs.end_all(left)
            apart = differences(runs.finish(), reference)
            if apart.lost or apart.doubled:
                said.append(f"{apart.lost} rows lost, {apart.doubled} doubled")
            said += map(str.strip, apart.lines())
            rows, figures, processes = rows + apart.lost + apart.doubled, figures + apart.count, processes + len(left)
            if said:
                yield f"kill {number} ({name}, {target}, after {after_s:.2f} s): {'; '.join(said)}"
            shutil.rmtree(runs.folder)
    yield Figure(f"rows lost or doubled after {kills} kills", rows, at_most=0.0)
    yield Figure(f"figures that differ from the undisturbed run's after {kills} kills", figures, at_most=0.0)
    yield Figure(f"processes left {patience_s:g} s after {kills} kills", processes, at_most=0.0)


def _told(runs, left):
    """Say which processes are left, and whether they end later."""
    names = "; ".join(sorted(map(_describe, left)))
    start = time.monotonic()
    still = left_over(runs.token, runs.folder, left, LONGER_S)
    ends = f"{len(still)} stay" if still else f"all end {time.monotonic() - start:.1f} s later"
    return f"{len(left)} processes left ({names}), of which {ends}"


def main(arguments):
    """Print the report."""
    for line in study(arguments.kills, arguments.seed, arguments.repetitions, PATIENCE_S):
        print(line.line() if isinstance(line, Figure) else line, flush=True)
