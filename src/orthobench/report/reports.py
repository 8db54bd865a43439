"""What `orthobench report` prints: a report of each benchmark and folder of files, and what is wrong with others."""

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orthobench.report import history, sources, sweep
from orthobench.report.benchmarks import BENCHMARKS, Benchmark
from orthobench.report.claims_file import load_claims
from orthobench.report.page import one_line
from orthobench.report.terminal import Screen, columns
from orthobench.report.text import (
    failures,
    leaderboards,
    learning_rates,
    read_file,
    render_claims,
    render_failures,
    together,
)

_CELL = ["dataset_name", "objective_name", "solver_name", "idx_rep"]


class Unusable(ValueError):
    """What the command was asked for does not apply; no file is wrong."""


@dataclass(frozen=True, eq=False)
class Source:
    """A result file: its rows, after their `history`."""

    path: Path
    frame: pd.DataFrame
    benchmark: Benchmark


@dataclass(frozen=True)
class Report:
    """What is printed of a result, the columns that were left out, and how many of its cells failed."""

    text: str
    left_out: tuple
    failed: int
    cells: int


def print_reports(arguments):
    """Print what is asked for, and say on stderr what is wrong.

    Parameters
    ----------
    arguments : argparse.Namespace
        The options of `orthobench report`.

    Returns
    -------
    int
        Its exit code.
    """
    benchmarks = [each for each in BENCHMARKS.values() if arguments.metric in (None, *each.reported)]
    if not benchmarks:
        told = f"no benchmark has the metric {arguments.metric!r}: `orthobench report --help` lists them."
        print(f"error: {one_line(told)}", file=sys.stderr)
        return 2
    paths, unusable = sources.find(arguments.named, benchmarks)
    files, wrong = _read(paths)
    reports = []
    try:
        for group in _groups(files, arguments.claims is not None):
            for own, told in _reports(group, arguments):
                if isinstance(told, Unusable):
                    unusable.append(str(told))
                elif isinstance(told, ValueError):
                    wrong.append(f"{_named(own)}: {told}")
                else:
                    print("\n\n" * bool(reports) + told.text, flush=True)
                    reports.append(told)
        for line in _end(reports, arguments):
            print(line, flush=True)
    except BrokenPipeError:  # whoever reads it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for message in dict.fromkeys([*wrong, *unusable]):
        print(f"error: {one_line(message)}", file=sys.stderr)
    return 2 if unusable else 1 if wrong else 0


def _end(reports, arguments):
    """Return the lines that are said once, after all reports."""
    screen, lines = Screen(columns()), []
    screen.left_out = {name: True for each in reports for name in each.left_out}
    failed, cells = sum(each.failed for each in reports), sum(each.cells for each in reports)
    if not arguments.learning_rates:  # whose end is to be pasted
        lines += screen.note()
        if failed and not arguments.failures:
            told = f"! {failed} of {cells} cells failed. What each said, and the command that runs it again:"
            lines += screen.paragraph(told, "  ")
            lines.append(shlex.join(["orthobench", "report", *map(one_line, arguments.named), "--failures"]))
    return ["", *lines] if lines else []


def _named(files):
    return " and ".join(str(each.path) for each in files)


def _read(paths):
    """Return the files that are results of this suite, and what is wrong with the others."""
    files, wrong = [], []
    for path in paths:
        try:
            frame, folder = read_file(path)
            if not len(frame):
                raise ValueError(f"{path}: holds no rows: run the benchmark again, or remove the file.")
            files.append(Source(path, history.beside(path).apply(frame, folder), BENCHMARKS[folder]))
        except (OSError, ValueError) as error:
            wrong.append(str(error))
    return files, wrong


def _groups(files, across_machines):
    """Return the files of each benchmark and folder together; claims are judged across the folders of machines."""
    groups = {}
    for file in files:
        folder = file.path.resolve().parent
        if across_machines and sources.machine_of(file.path):
            folder = folder.parent
        groups.setdefault((file.benchmark.folder, folder), []).append(file)
    return list(groups.values())


def _reports(files, arguments):
    """Return files and their report, or what is wrong: files that make no result together, each by itself."""
    told = _attempt(files, arguments)
    if len(files) == 1 or isinstance(told, Report | Unusable):
        return [(files, told)]
    alone = [([each], _attempt([each], arguments)) for each in files]
    wrong = [(own, told) for own, told in alone if not isinstance(told, Report)]
    if not wrong:
        return alone
    good = [file for own, told in alone if isinstance(told, Report) for file in own]
    return (_reports(good, arguments) if good else []) + wrong


def _attempt(files, arguments):
    try:
        return _report(files, arguments)
    except ValueError as error:
        return error


def _report(files, arguments):
    """Return the `Report` of files as one result; raises ValueError where they make none."""
    screen, benchmark = Screen(columns(), arguments.wide), files[0].benchmark
    machines = {}
    for each in files:
        machines.setdefault(sources.machine_of(each.path), []).append((each.path.stem, each.frame))
    frames = {machine: together(own) for machine, own in machines.items()}
    cells = sum(len(each[_CELL].drop_duplicates()) for each in frames.values())
    failed = sum(len(failures(each)[_CELL].drop_duplicates()) for each in frames.values())
    heading = [
        *screen.paragraph(f"== {'root' if benchmark.folder == '.' else benchmark.folder}: {benchmark.question}", "   "),
        *screen.paragraph(
            f"{', '.join(str(each.path) for each in files)}: {cells} cells, {failed} failed", "   ", "   "
        ),
    ]
    text = "\n\n".join(["\n".join(heading), _text(frames, files, arguments, screen)])
    return Report(text, tuple(screen.left_out), failed, cells)


def _text(frames, files, arguments, screen):
    """Return what is asked for of one result, or of those of several machines."""
    benchmark, metric, frame = files[0].benchmark, arguments.metric, next(iter(frames.values()))
    if arguments.failures:
        return render_failures(frame, screen)
    if arguments.claims is not None:
        try:
            claims = load_claims(arguments.claims or find_claims(files[0].path, benchmark))
        except (OSError, ValueError) as error:
            raise Unusable(str(error)) from error
        return render_claims(frames, claims, screen)
    if arguments.learning_rates:
        if not sweep.tuning_objectives(history.current(frame)):
            told = "no objective with part=tuning, from which learning rates are chosen"
            raise Unusable(f"{_named(files)}: {told}. {sweep.REMEDY}")
        return learning_rates(frame, screen)
    if metric not in (None, *benchmark.reported):
        allowed = ", ".join(benchmark.reported)
        raise Unusable(f"{_named(files)}: no leaderboard of {metric!r}; choose one of {allowed}.")
    return leaderboards(frame, metric, arguments.baseline, screen)


def find_claims(parquet_path, benchmark):
    """Return the path of a benchmark's ``claims.toml``.

    It is looked for in each folder above the result file, then in the current one, as that of the repository.
    """
    name = Path(benchmark.folder, "claims.toml")
    folders = [*Path(parquet_path).resolve().parents, Path()]
    return next((folder / name for folder in folders if (folder / name).is_file()), name)
