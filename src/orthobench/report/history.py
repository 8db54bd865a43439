"""What became of published rows since they were computed: solvers that are renamed, and methods that have changed.

``history.toml`` beside the results says so; it is read here alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.entries import read_entries
from orthobench.report.names import family, normalised, parameters, plain, selected, with_value

FILE = "history.toml"
SUPERSEDED = "superseded"  # a column, the reason where a row is; and the rank of what has only such rows
RAN_AS = "ran_as"  # a column: the name of the solver when its row was computed
RENAMED = "renamed"  # a column: why that is another one, where it is
MEANING = (
    "the method has changed since its rows were computed, for the reason beside it: they are kept, but have no place, "
    "and no comparison or verdict counts them"
)
CELL = ["dataset_name", "objective_name", "solver_name", "idx_rep"]
_COMMIT = "objective_env_commit"
_SHORT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True)
class Alias:
    """A solver that has another name than in rows or, with a parameter, a value of it that is called otherwise."""

    benchmark: str  # its folder
    solver: str  # as rows call it, without parameters
    now: str  # the solver's name, or the value
    reason: str
    parameter: str = ""
    value: str = ""  # without one, of rows from before there was the parameter

    @property
    def known(self):
        """The solver's name today."""
        return self.solver if self.parameter else self.now

    @property
    def renames(self):
        """What it renames, as what can be a key."""
        return self.benchmark, self.solver, self.parameter, plain(self.value)

    def check(self):
        """Return what is wrong with the entry; empty if nothing is."""
        return "" if self.parameter or not self.value else "'value' is there without its 'parameter'"

    def rows(self, frame):
        """Return which rows of the benchmark the entry is about."""
        names = ran_as(frame)
        return names.isin([name for name in names.unique() if self.is_about(name)])

    def is_about(self, name):
        """Whether it renames this solver of a row."""
        given = parameters(name).get(self.parameter, "")
        return family(name) == self.solver and given == plain(self.value)

    def renamed(self, name):
        """Return a name that it is about as it is today."""
        if self.parameter:
            return with_value(name, self.parameter, self.now)
        return self.now + name.removeprefix(self.solver)


@dataclass(frozen=True)
class Superseded:
    """Rows whose method has changed: those of a solver that were computed at certain commits."""

    benchmark: str  # its folder
    solver: str  # as Benchopt's -s reads it
    commits: list  # or their first characters, 7 or more
    reason: str
    datasets: list = ()  # as -d reads them; all without

    @property
    def known(self):
        """The solver's name."""
        return family(self.solver)

    def check(self):
        """Return what is wrong with the entry; empty if nothing is."""
        if self.datasets == [] or not all(isinstance(each, str) for each in self.datasets):
            return f"'datasets' is {self.datasets!r}; allowed: a list of texts"
        right = self.commits and all(isinstance(each, str) and _SHORT.fullmatch(each) for each in self.commits)
        return "" if right else f"'commits' is {self.commits!r}; allowed: a list of texts of 7 to 40 digits 0-9 a-f"

    def rows(self, frame):
        """Return which rows of the benchmark the entry is about."""
        hit = _are_selected(frame["solver_name"], [self.solver])
        hit &= frame[_COMMIT].astype(str).str.startswith(tuple(self.commits)) if _COMMIT in frame else False
        return hit & _are_selected(frame["dataset_name"], self.datasets) if self.datasets else hit


def _are_selected(column, selectors):
    names = list(column.unique())
    return column.isin([name for each in selectors for name in selected(names, each)])


@dataclass(frozen=True)
class History:
    """The entries of a ``history.toml``."""

    aliases: tuple = ()
    superseded: tuple = ()

    def apply(self, frame, folder):
        """Return the rows of a benchmark under today's names, those that are superseded with the reason.

        Numbers in the names of solvers are written in one way: what ran as 100 and as 100.0 is one solver. The columns
        `RAN_AS`, `RENAMED` and `SUPERSEDED` are there only where a row needs them.
        """
        frame = _normalised(frame)
        for each in self.aliases:
            if each.benchmark == folder and (hit := each.rows(frame)).any():
                frame = _with_names(frame)
                names, why = frame["solver_name"].astype(object), frame[RENAMED].astype(object)
                frame = frame.assign(
                    solver_name=names.mask(hit, names.map(each.renamed)), **{RENAMED: why.mask(hit, each.reason)}
                )
                column = f"p_solver_{each.parameter}"
                if column in frame:
                    frame = frame.assign(**{column: frame[column].astype(object).mask(hit, each.now)})
        reasons = pd.Series(None, index=frame.index, dtype=object)
        for each in self.superseded:
            if each.benchmark == folder:
                reasons[each.rows(frame)] = each.reason
        return frame.assign(**{SUPERSEDED: reasons}) if reasons.notna().any() else frame


def _with_names(frame):
    """Return rows with the columns for names that they had when they were computed."""
    return frame if RAN_AS in frame else frame.assign(**{RAN_AS: frame["solver_name"], RENAMED: None})


def _normalised(frame):
    names = frame["solver_name"]
    alike = names.map({each: normalised(each) for each in names.unique()})
    return frame if (alike == names).all() else _with_names(frame).assign(solver_name=alike)


def load(path):
    """Read a ``history.toml``; one that is not there is empty.

    Raises
    ------
    ValueError
        If something in it is not as it should be. The message names the file, the entry and what is allowed.
    """
    found = read_entries(Path(path), {"alias": Alias, "superseded": Superseded}, _lack)
    renamed = [each.renames for each in found["alias"]]
    for number, each in enumerate(renamed, 1):
        if each in renamed[: number - 1]:
            first = renamed.index(each) + 1
            raise ValueError(f"{path}: alias number {number} renames what number {first} does; allowed: once.")
    return History(found["alias"], found["superseded"])


def _lack(entry):
    folders = f"'benchmark' is {entry.benchmark!r}; allowed: {', '.join(BENCHMARKS)}"
    return entry.check() if entry.benchmark in BENCHMARKS else folders


def beside(path):
    """Return the `History` of the published rows that a file is among; an empty one elsewhere. Raises as `load`."""
    folders = Path(path).resolve().parents
    return load(folders[2] / FILE) if len(folders) > 2 else History()


def current(frame):
    """Return the rows that are not superseded."""
    return frame[frame[SUPERSEDED].isna()] if SUPERSEDED in frame else frame


def old(frame):
    """Return the rows that are superseded."""
    return frame[frame[SUPERSEDED].notna()] if SUPERSEDED in frame else frame[:0]


def standing(frame):
    """Return the rows that are not superseded; all where there are no others."""
    now = current(frame)
    return now if len(now) else frame


def generations(frame):
    """Divide the rows that are superseded so that no part has two runs of a cell; a list of frames, the first first."""
    rows = _by_date(old(frame))
    if not len(rows):
        return []
    number = rows.groupby(CELL, sort=False)[_COMMIT].transform(lambda commits: pd.factorize(commits)[0])
    return [own for _, own in rows.groupby(number.astype(int))]


def _by_date(rows):
    return rows.sort_values("run_date", kind="stable") if "run_date" in rows else rows


def in_place(frame, column):
    """Return rows where each that is of a cell run again has a column's value of the cell's first superseded run."""
    rows = _by_date(old(frame))
    if not len(rows):
        return frame
    first = rows.drop_duplicates(CELL)[[*CELL, column]]
    values = frame[CELL].merge(first, how="left", on=CELL)[column].to_numpy()
    return frame.assign(**{column: frame[column].mask(pd.notna(values), values)})


def claimed(frame):
    """Return the cells that rows claim, a set of tuples.

    A superseded one is claimed at its commit alone: a later run has it again.
    """
    parts = [current(frame)[CELL]] + ([old(frame)[[*CELL, _COMMIT]]] if SUPERSEDED in frame else [])
    return {cell for own in parts for cell in own.drop_duplicates().itertuples(index=False, name=None)}


def ran_as(frame):
    """Return the names that solvers had when their rows were computed."""
    return frame[RAN_AS].fillna(frame["solver_name"]) if RAN_AS in frame else frame["solver_name"]


def earlier_names(frame):
    """List the names of solvers in rows that are called otherwise now, with the reason; each reason once."""
    if RENAMED not in frame:
        return []
    renamed = frame[frame[RENAMED].notna()].drop_duplicates(RENAMED)
    return list(zip(renamed[RAN_AS], renamed[RENAMED], strict=True))


def problems(history, results, root):
    """Say which entries are about nothing.

    Parameters
    ----------
    history : History
    results : list of (str, pandas.DataFrame)
        The folder of a benchmark and rows of it, after `History.apply`.
    root : pathlib.Path or None
        The repository, for the names of solvers; without it these are not looked at.

    Returns
    -------
    list of str
    """
    found, today = [], {(each.benchmark, each.solver): each.now for each in history.aliases if not each.parameter}
    for entry in (*history.aliases, *history.superseded):
        name = f"{type(entry).__name__.lower()} {entry.solver!r} of {entry.benchmark!r}"
        if not any(folder == entry.benchmark and entry.rows(frame).any() for folder, frame in results):
            found.append(f"{name} is about no row: correct it, or remove it.")
        solver = today.get((entry.benchmark, entry.known), entry.known)
        if root and solver not in (known := _solvers(root / entry.benchmark)):
            found.append(f"{name} names the solver {solver!r}; allowed: {', '.join(known)}.")
    return found


def _solvers(folder):
    """List the names of a benchmark's solvers, which are constants of their files."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((folder / "solvers").glob("*.py"))]
    return [name for text in texts for name in re.findall(r'^    name = "(.+)"$', text, re.MULTILINE)]
