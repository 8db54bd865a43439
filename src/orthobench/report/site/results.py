"""What is published: the parquet files of ``results/<benchmark>/<machine>/``, and what is wrong with them."""

import functools
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orthobench.report import history, stands
from orthobench.report.benchmarks import BENCHMARKS, Benchmark
from orthobench.report.names import family, parameters
from orthobench.report.page import one_line
from orthobench.report.statistics import MIN_SEEDS
from orthobench.report.text import read_file, together

CELL = history.CELL
POINT = [*CELL, "stop_val", "objective_status"]
PLACE = "results/<benchmark>/<machine>/<name>.parquet"


@dataclass(frozen=True)
class Problem:
    """Something that makes published rows untrustworthy: where, and what."""

    where: str
    what: str

    def __str__(self):
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, eq=False)
class File:
    """One parquet file; its path is relative to the folder of the results."""

    path: Path
    frame: pd.DataFrame

    @property
    def name(self):
        """The file's name without its suffix: that of the configuration which it holds, if it has one."""
        return self.path.stem

    @functools.cached_property
    def last_run(self):
        """When the newest of its rows was computed, as text; empty if the rows do not tell."""
        return max(self.frame["run_date"].dropna().astype(str), default="") if "run_date" in self.frame else ""


@dataclass(frozen=True)
class Setting:
    """A data set and an objective on one machine: what one leaderboard compares solvers on."""

    number: int  # from 1, in the order of appearance
    dataset: str
    objective: str


@dataclass(frozen=True, eq=False)
class Result:
    """All rows of one benchmark from one machine, as one result; those that are superseded say so, see `history`."""

    benchmark: Benchmark
    machine: str
    files: tuple  # of File, by name
    frame: pd.DataFrame

    @functools.cached_property
    def current(self):
        """The rows that are compared: those that are not superseded."""
        return history.current(self.frame)

    @functools.cached_property
    def title(self):
        """What the rows call the objective, without its parameters."""
        return title_of(self.frame)

    @functools.cached_property
    def device(self):
        """What the rows ran on: ``CPU``, ``GPU (its name)``, or both."""
        named = ["objective_env_device", "objective_env_device_name"]
        if not set(named) <= set(self.frame):
            return "unknown device"
        pairs = self.frame[named].dropna().drop_duplicates().itertuples(index=False, name=None)
        return " and ".join(sorted({"CPU" if kind == "cpu" else f"GPU ({one_line(name)})" for kind, name in pairs}))

    @functools.cached_property
    def settings(self):
        """The data sets and objectives: those that claims are about first, and of these the ones with enough seeds."""
        counts = [
            each.groupby(["dataset_name", "objective_name"], sort=False)["idx_rep"].nunique()
            for each in (self.frame, self.current)
        ]
        seeds = counts[1].reindex(counts[0].index, fill_value=0)
        pairs = sorted(seeds.index, key=lambda pair: (not self.is_evidence(pair[1]), seeds[pair] < MIN_SEEDS))
        return [Setting(number, *pair) for number, pair in enumerate(pairs, start=1)]

    def is_evidence(self, objective):
        """Whether figures of an objective are final ones: those of the tuning part are for choosing alone."""
        given = parameters(objective)
        wanted = self.benchmark.evidence
        parts = {"part": wanted["part"]} if "part" in wanted else {}
        return all(given.get(name, values[0]) in values for name, values in parts.items())

    def rows(self, setting):
        """Return the rows of a setting."""
        return self.frame[
            (self.frame["dataset_name"] == setting.dataset) & (self.frame["objective_name"] == setting.objective)
        ]


def title_of(frame):
    """Return the name of the objective in a frame, without its parameters."""
    names = frame["objective_name"].unique()
    return family(one_line(names[0])) if len(names) else "no rows"


def read_results(folder, since=None):
    """Read all results of a folder, with their `history`, or another that is given.

    A file that can't be read, is not a result of this suite, is in no folder of a benchmark and machine, has rows whose
    solver nothing was protected from, or claims a cell that another one of its machine has, is left out, and is a
    problem. A cell whose rows are superseded may be in another file again.

    Parameters
    ----------
    folder : str or pathlib.Path
    since : History, optional

    Returns
    -------
    results : list of Result
        By benchmark, then machine.
    problems : list of Problem

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder. Give the one that holds {PLACE.partition('/')[2]}.")
    files, (since, problems) = {}, (since, []) if since else _history(folder)
    for path in sorted(folder.rglob("*.parquet")):
        relative = path.relative_to(folder)
        if len(relative.parts) != 3:
            problems.append(Problem(relative.as_posix(), f"not where results are: expected {PLACE}."))
            continue
        try:
            frame, benchmark = read_file(path)
        except (OSError, ValueError) as error:
            problems.append(Problem(relative.as_posix(), one_line(error)))
            continue
        if BENCHMARKS[benchmark].results != relative.parts[0]:
            told = f"holds rows of another benchmark, whose folder is results/{BENCHMARKS[benchmark].results}: move it."
            problems.append(Problem(relative.as_posix(), told))
            continue
        if not len(frame):
            problems.append(Problem(relative.as_posix(), "holds no rows: run the benchmark again, or remove the file."))
            continue
        inside = int((frame[stands.COLUMN] == stands.IN_PROCESS).sum()) if stands.COLUMN in frame else 0
        if inside:
            told = (
                f"{inside} of {len(frame)} rows were computed in the harness's own process, where nothing is "
                "protected: run again without ORTHOBENCH_IN_PROCESS."
            )
            problems.append(Problem(relative.as_posix(), told))
            continue
        own = File(relative, since.apply(frame, benchmark))
        files.setdefault((benchmark, relative.parts[1]), []).append(own)
    results = []
    for (benchmark, machine), own in sorted(files.items()):
        kept, found = _without_conflicts(own)
        problems += found
        if not kept:
            continue
        results.append(
            Result(BENCHMARKS[benchmark], machine, tuple(kept), together([(each.name, each.frame) for each in kept]))
        )
    return results, problems


def _history(folder):
    """Return what is told of the rows of a folder, and what is wrong with it."""
    try:
        return history.load(folder / history.FILE), []
    except ValueError as error:
        return history.History(), [Problem(history.FILE, one_line(error))]


def _without_conflicts(files):
    """Return the files that claim no cell of one before them, and the problems of the others."""
    kept, problems, owners = [], [], {}
    for file in files:
        cells = history.claimed(file.frame)
        clash = sorted(cells & owners.keys(), key=str)
        if clash:
            dataset, _, solver, seed, *_ = clash[0]
            problems.append(
                Problem(
                    file.path.as_posix(),
                    f"{len(clash)} of its cells are in {owners[clash[0]].as_posix()} too, such as {one_line(solver)}, "
                    f"repetition {seed}, on {one_line(dataset)}: publish each cell of a machine once, or say in "
                    f"{history.FILE} which rows are superseded.",
                )
            )
            continue
        repeated = file.frame[file.frame.duplicated(POINT)]
        if len(repeated):
            dataset, _, solver, seed = repeated[CELL].iloc[0]
            problems.append(
                Problem(
                    file.path.as_posix(),
                    f"{one_line(solver)}, repetition {seed}, on {one_line(dataset)} has the same point twice: this "
                    "looks like several runs in one file; publish one.",
                )
            )
            continue
        owners |= dict.fromkeys(cells, file.path)
        kept.append(file)
    return kept, problems
