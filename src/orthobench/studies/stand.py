"""What a process of its own for each solver costs: its start, questions and memory, and what it changes in figures.

``orthobench study stand`` prints each beside its goal, and says what DOES NOT HOLD. Nothing else should run
meanwhile. With ``--quick-configurations FOLDER`` it also runs the quick configurations with the code there and here;
with ``--honest ROWS`` it looks for honest solvers that a busy machine gets refuted.
"""

import contextlib
import itertools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from ..device import peak_memory_bytes, resolve_device
from ..harness.stand.bench import Stand, server
from ..harness.stand.roles import pack
from ..harness.stand.wire import expected_bytes
from .goals import Figure, ratios

ROLE = "orthobench.harness.stand.roles:Role"
MATRICES_ROLE = "orthobench.harness.orthogonalisation.role:MatricesRole"
RECIPES = ("turbo_muon", "muon")
MEGABYTES = (1, 16)

SOLVER = '''"""A recipe, to be timed in a stand."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """Newton-Schulz."""

    name = "timed"
    parameters = {"recipe": ["muon", "turbo_muon"]}
'''
# The same call in a process of its own, by a clock that the harness has no part in.
ALONE = """
import sys
import time

import torch

from orthobench.harness import resolve_device, synchronize
from orthobench.linalg import newton_schulz

recipe, size, device = sys.argv[1], int(sys.argv[2]), resolve_device()
matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
for _ in sys.stdin:
    outputs, inputs = None, [matrix.to(device, copy=True)]
    synchronize(device)
    start = time.perf_counter()
    outputs = newton_schulz(inputs, recipe)
    synchronize(device)
    print(time.perf_counter() - start, flush=True)
"""
# Ends with its parent, however that ends.
BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(10**6):
        pass
"""

# Of each: the benchmark's folder, and how much of the processor time of the other checkout it may take.
CONFIGURATIONS = {"root": (".", 2.0), "benchmark_muon": ("benchmark_muon", 1.3)}
NOT_COPIED = shutil.ignore_patterns("__cache__", "outputs", ".venv", ".git", "__pycache__")
HONEST_DATASETS = ("gaussian[rows=24,columns=24]", "gaussian[rows=16,columns=64]", "spectrum[kind=power_law]")
HONEST_REPETITIONS = 5

KEY = ("dataset_name", "objective_name", "solver_name", "idx_rep", "stop_val")
# What differs between two runs of one code: clocks, bytes, and where it ran.
NOT_COMPARED = ("time", "peak_memory", "efficiency", "share", "env_")


# --- a stand by itself -----------------------------------------------------------------------------------------------


def starts(count, on_cpu=True):
    """Yield the time of a stand's start, and of the server's, which is started if it isn't there.

    Parameters
    ----------
    count : int
        Starts after the first, which is thrown away.
    on_cpu : bool
        Whether there is a goal.

    Yields
    ------
    Figure
    """
    start = time.perf_counter()
    server()
    yield Figure("the server's start, once a process, s", time.perf_counter() - start)
    times = []
    for _ in range(count + 1):
        start = time.perf_counter()
        stand = Stand(ROLE)
        times.append(1e3 * (time.perf_counter() - start))
        stand.end()
    yield Figure.of("a stand's start, ms", times[1:], **({"at_most": 60.0} if on_cpu else {}))


def questions(echoes, transports):
    """Yield the time of a question that asks nothing, and that of tensors there and back.

    Parameters
    ----------
    echoes, transports : int
        How often.

    Yields
    ------
    Figure
    """
    stand = Stand(ROLE)
    try:
        times = [_seconds(stand.ask, "echo") for _ in range(echoes + 1)]
        yield Figure.of("an echo, us", [1e6 * each for each in times[1:]], at_most=100.0)
        for size in MEGABYTES:
            tensor = torch.zeros(size * 10**6, dtype=torch.uint8)

            def there_and_back(tensor=tensor):
                stand.ask("keep", tensor)
                stand.ask("kept", largest=expected_bytes([tensor.shape]))

            times = [_seconds(there_and_back) for _ in range(transports + 1)]
            yield Figure.of(f"{size} MB there and back, ms", [1e3 * each for each in times[1:]])
    finally:
        stand.end()


def _seconds(call, *arguments):
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def memory():
    """Yield the peak of the resident memory of this process, of the server and of a stand, in MB."""
    stand = Stand(ROLE)
    try:
        stand.ask("echo")
        yield Figure("peak memory of the bench, which is this process, MB", _megabytes(_peak_bytes("self")))
        yield Figure("peak memory of the server, MB", _megabytes(_peak_bytes(server().process.pid)))
        yield Figure("peak memory of a stand, MB", _megabytes(stand.peak_memory_bytes()))
        yield Figure("what of it the stand shares with no other process, MB", _megabytes(_own_bytes(stand.pid)))
    finally:
        stand.end()


def _megabytes(size):
    return size / 1e6


def _peak_bytes(process):
    if process == "self":
        return peak_memory_bytes(torch.device("cpu"))
    return _kilobytes(f"/proc/{process}/status", ("VmHWM:",))


def _own_bytes(process):
    return _kilobytes(f"/proc/{process}/smaps_rollup", ("Private_Clean:", "Private_Dirty:"))


def _kilobytes(path, names):
    """Return the sum of some lines of a file of /proc, in bytes; NaN where the system doesn't tell."""
    try:
        lines = [line.split() for line in Path(path).read_text().splitlines()]
    except OSError:
        return float("nan")
    found = [1024.0 * int(line[1]) for line in lines if line and line[0] in names]
    return sum(found) if found else float("nan")


# --- a method in it --------------------------------------------------------------------------------------------------


def methods(sizes, repetitions, processes):
    """Yield what time a method takes by a stand's clock, as a multiple of what it takes in a process without a stand.

    Parameters
    ----------
    sizes : sequence of int
        Of square matrices.
    repetitions : int
        Alternating, in each pair of processes.
    processes : int
        Pairs of them: where its memory happens to lie makes one process some percent slower than another.

    Yields
    ------
    Figure
    """
    for size, recipe in itertools.product(sizes, RECIPES):
        times = {"stand": [], "alone": []}
        for _ in range(processes):
            for each, seconds in alternated(recipe, size, repetitions).items():
                times[each] += seconds
        name = f"{recipe} at {size} x {size} float32, through the stand over alone"
        yield Figure.of(name, ratios(times, "stand", "alone"), at_least=0.98, at_most=1.02)


def alternated(recipe, size, repetitions):
    """Return the seconds of a method through the stand and alone, timed in turn, the first of each thrown away.

    Parameters
    ----------
    recipe : str
    size, repetitions : int

    Returns
    -------
    dict of str to list of float
    """
    times = {"stand": [], "alone": []}
    with tempfile.TemporaryDirectory() as folder, in_stand(folder, recipe, size) as stand, alone(recipe, size) as other:
        calls = [("stand", stand), ("alone", other)]
        for repetition in range(repetitions + 1):
            for name, call in calls:
                seconds = call()
                if repetition:
                    times[name].append(seconds)
            calls.reverse()  # neither always follows the other
    return times


@contextlib.contextmanager
def in_stand(folder, recipe, size):
    """Give a function that runs a method in a stand, as a cell of the root benchmark does, and returns its seconds."""
    file = Path(folder) / "timed.py"
    file.write_text(SOLVER)
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    stand = Stand(MATRICES_ROLE)
    try:
        stand.ask("problem", pack(dtype="float32", exponent=0), seed=0)
        stand.ask("load", pack(recipe=recipe), file=str(file))
        steps = [stand.ask("skip", exponent=0).fields["steps"]]
        stand.ask("prepare", shapes=[[size, size]], scales=[1.0], arguments=steps)
        yield lambda: stand.ask("run", matrix, calls=1, arguments=steps).numbers("seconds", 1)[0]
    finally:
        stand.end()


@contextlib.contextmanager
def alone(recipe, size):
    """Give a function that runs a method in a process that is no stand, and returns its seconds."""
    command = [sys.executable, "-P", "-c", ALONE, recipe, str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def call():
            process.stdin.write("\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield call
        process.stdin.close()


def first_result(count, size=8):
    """Yield the time from nothing to a method that has run once in a stand: on a GPU, that begins a use of it.

    Parameters
    ----------
    count : int
        After the first, which is thrown away.
    size : int

    Yields
    ------
    Figure
    """
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count + 1):
            start = time.perf_counter()
            with in_stand(folder, RECIPES[0], size) as call:
                call()
                times.append(1e3 * (time.perf_counter() - start))
    yield Figure.of("a stand's start, a solver loaded and run on a small matrix in it, ms", times[1:])


# --- against another checkout ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Differences:
    """What the rows of one run have that those of another haven't.

    Attributes
    ----------
    lost, doubled : int
        Rows that are missing, and rows that are too many.
    compared : int
        Figures of the rows that both have.
    columns : dict of str to tuple of (int, float)
        Columns that differ: in how many rows, and by what share of the larger figure at most (NaN for texts).
    alone : tuple of str
        Columns that one of them has alone.
    """

    lost: int
    doubled: int
    compared: int
    columns: dict
    alone: tuple

    @property
    def count(self):
        """How many figures differ."""
        return sum(count for count, _ in self.columns.values())

    def lines(self):
        """Yield a line for each column that differs."""
        for name, (count, largest) in self.columns.items():
            share = "" if largest != largest else f", by {largest:.2g} of the figure at most"
            yield f"  {name.removeprefix('objective_')} differs in {count} rows{share}"
        if self.alone:
            yield f"  columns that one of both has alone: {', '.join(self.alone)}"


def differences(rows, reference):
    """Compare the metrics of two runs, to the last bit, without clocks, bytes and where they ran.

    Parameters
    ----------
    rows, reference : pandas.DataFrame
        As Benchopt writes them.

    Returns
    -------
    Differences
    """
    key = list(KEY)
    counts, expected = (each.groupby(key).size() for each in (rows, reference))
    apart = counts.subtract(expected, fill_value=0)
    names = [[each for each in frame if _is_compared(each)] for frame in (rows, reference)]
    both = [each for each in names[1] if each in names[0]]
    found, wanted = (each.drop_duplicates(key).set_index(key)[both] for each in (rows, reference))
    found, wanted = found.align(wanted, join="inner", axis=0)
    columns = {}
    for name in both:
        one, other = found[name], wanted[name]
        differ = ~((one == other) | (one.isna() & other.isna()))
        if differ.any():
            columns[name] = int(differ.sum()), _largest_share(one[differ], other[differ])
    return Differences(
        lost=int(-apart[apart < 0].sum()),
        doubled=int(apart[apart > 0].sum()),
        compared=len(both) * len(found),
        columns=columns,
        alone=tuple(sorted(set(names[0]) ^ set(names[1]))),
    )


def _is_compared(name):
    return name.startswith("objective_") and name != "objective_name" and not any(part in name for part in NOT_COMPARED)


def _largest_share(one, other):
    if not (pd.api.types.is_numeric_dtype(one) and pd.api.types.is_numeric_dtype(other)):
        return float("nan")
    one, other = one.astype(float), other.astype(float)
    size = pd.concat([one.abs(), other.abs()], axis=1).max(axis=1)
    return float(((one - other).abs() / size).fillna(float("inf")).max())


def quick_configurations(base, runs):
    """Yield what the quick configurations take with this code, over another checkout's, and whether figures differ.

    Parameters
    ----------
    base : path
        A folder with another checkout.
    runs : int
        Of each, alternating, after one that is thrown away.

    Yields
    ------
    Figure or str
    """
    with tempfile.TemporaryDirectory() as folder:
        copies = {
            name: copy_checkout(source, Path(folder) / name) for name, source in (("base", base), ("here", checkout()))
        }
        for name, (benchmark, goal) in CONFIGURATIONS.items():
            seconds, rows = {each: [] for each in copies}, {}
            for run in range(runs + 1):
                for each, copy in copies.items() if run % 2 else reversed(copies.items()):
                    spent, rows[each] = run_configuration(copy, benchmark)
                    if run:  # the first fills the cache of references
                        seconds[each].append(spent)
            yield Figure.of(
                f"{name}, processor time of the quick configuration over the other checkout's",
                ratios(seconds, "here", "base"),
                at_most=goal,
            )
            apart = differences(rows["here"], rows["base"])
            yield Figure(f"{name}, rows lost or doubled", apart.lost + apart.doubled, at_most=0.0)
            yield Figure(f"{name}, figures that differ, of {apart.compared:,}", apart.count, at_most=0.0)
            yield from apart.lines()
            yield from not_ok(rows["here"])


def not_ok(rows):
    """Yield a line for each solver and reason for which rows aren't ``ok``."""
    bad = rows[rows["objective_status"] != "ok"]
    for (solver, status, message), group in bad.groupby(["solver_name", "objective_status", "objective_message"]):
        yield f"  {len(group)} of {solver}: {status}: {message}"


def checkout():
    """Return the folder of the checkout that this package is in.

    Raises
    ------
    ValueError
        If it isn't in one.
    """
    return _checked(Path(__file__).resolve().parents[3])


def _checked(folder):
    for needed in ("objective.py", "src/orthobench/__init__.py", "configs/quick.yml"):
        if not (Path(folder) / needed).is_file():
            raise ValueError(f"{folder} is no checkout of this repository: it has no {needed}")
    return Path(folder)


def copy_checkout(source, target):
    """Copy a checkout without what it has computed; return the copy.

    Raises
    ------
    ValueError
        If it is none.
    RuntimeError
        If Python would take the package from elsewhere.
    """
    shutil.copytree(_checked(source), target, ignore=NOT_COPIED)
    command = [sys.executable, "-P", "-c", "import orthobench; print(orthobench.__file__)"]
    found = subprocess.run(command, env=_environment(target), capture_output=True, text=True, check=True).stdout
    if not Path(found.strip()).is_relative_to(Path(target).resolve()):
        raise RuntimeError(f"the package comes from {found.strip()}, not from {target}/src on PYTHONPATH")
    return Path(target)


def _environment(copy, **more):
    return os.environ | {"PYTHONPATH": str(Path(copy) / "src"), "ORTHOBENCH_CACHE": f"{copy}_cache"} | more


def run_configuration(copy, benchmark):
    """Run a benchmark's quick configuration in a copy of a checkout, no cell of it cached.

    Parameters
    ----------
    copy : pathlib.Path
    benchmark : str
        Its folder.

    Returns
    -------
    tuple of (float, pandas.DataFrame)
        Processor seconds of all its processes, and its rows.

    Raises
    ------
    RuntimeError
        If it fails; with its last lines.
    """
    return run_benchopt(copy, benchmark, "--config", str(Path(benchmark) / "configs" / "quick.yml"))


def run_benchopt(copy, benchmark, *options):
    """Run a benchmark with some options; see :func:`run_configuration`."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "rows.parquet"
        command = [sys.executable, "-P", "-m", "benchopt", "run", benchmark, *options]
        start = _processor_s()
        done = subprocess.run(
            [*command, "--no-plot", "--output", str(output)],
            cwd=copy,
            env=_environment(copy, BENCHOPT_CACHE=str(Path(folder) / "cache")),
            capture_output=True,
            text=True,
        )
        seconds = _processor_s() - start
        if done.returncode or not output.is_file():
            last = " | ".join((done.stdout + done.stderr).splitlines()[-5:])
            raise RuntimeError(f"benchopt run {benchmark} in {copy} ended with {done.returncode}: {last}")
        return seconds, pd.read_parquet(output)


def _processor_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # those that have ended, and their own
    return used.ru_utime + used.ru_stime


# --- honest solvers on a busy machine --------------------------------------------------------------------------------


@contextlib.contextmanager
def busy(count):
    """Keep so many cores busy inside the block."""
    loops = []
    try:
        for _ in range(count):
            loops.append(subprocess.Popen([sys.executable, "-S", "-c", BUSY]))
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def honest(count, datasets=HONEST_DATASETS, solvers=(), repetitions=HONEST_REPETITIONS):
    """Yield how many rows of the root benchmark's solvers aren't ``ok`` while all cores are busy with something else.

    Parameters
    ----------
    count : int
        Rows at least.
    datasets, solvers : sequence of str
        As for ``benchopt run``; no solvers mean all.
    repetitions : int
        In a run; there are as many runs as are needed.

    Yields
    ------
    Figure or str
    """
    options = ["-r", str(repetitions), "--no-timeout"]
    options += [option for name in datasets for option in ("-d", name)]
    options += [option for name in solvers for option in ("-s", name)]
    rows, bad, cores = 0, [], os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder, busy(cores):
        copy = copy_checkout(checkout(), Path(folder) / "here")
        for seed in itertools.count():
            _, found = run_benchopt(copy, ".", *options, "--seed", str(seed))
            rows += len(found)
            bad.append(found[found["objective_status"] != "ok"])
            if rows >= count or found.empty:
                break
    bad = pd.concat(bad)
    yield Figure(
        f"rows of honest solvers that aren't ok, of {rows:,}, beside {cores} busy loops", len(bad), at_most=0.0
    )
    yield from not_ok(bad)


# --- the command -----------------------------------------------------------------------------------------------------


def main(arguments):
    """Print the report."""
    device = resolve_device()
    print(f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True)
    parts = [
        starts(arguments.starts, device.type == "cpu"),
        questions(arguments.echoes, arguments.transports),
        first_result(max(1, arguments.starts // 5)),
        memory(),
        methods(arguments.sizes, arguments.repetitions, arguments.processes),
    ]
    if arguments.quick_configurations:
        parts.append(quick_configurations(_checked(arguments.quick_configurations), arguments.runs))
    if arguments.honest > 0:
        parts.append(honest(arguments.honest))
    for figure in itertools.chain.from_iterable(parts):
        print(figure.line() if isinstance(figure, Figure) else figure, flush=True)
