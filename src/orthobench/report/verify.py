"""Whether published rows can be trusted, and whether a site shows what they say."""

import json
import math
from html.parser import HTMLParser
from pathlib import Path

from orthobench.report import history
from orthobench.report.page import one_line
from orthobench.report.site.results import CELL, Problem, read_results

ENV_DIRTY, ENV_COMMIT = "objective_env_dirty", "objective_env_commit"
_TOLERANCE = 1e-5  # of figures in plots, which have six digits
_SHOWN = 3  # examples in a message


def verify(results, root=None, planned=None):
    """Check all published rows.

    A file must be readable, a result of this suite, and in the folder of a benchmark and machine; its solvers must not
    have run in the harness's process for debugging; no two files of a machine may claim the same cell; rows must come
    from a commit, with no change to it; each solver must have all repetitions; and where a file is named after a
    configuration of its benchmark, each cell that this plans must be there, unless its solver skips it. Each entry of
    the `history` must be about rows, and name a solver of its benchmark.

    Parameters
    ----------
    results : str or pathlib.Path
    root : pathlib.Path, optional
        The repository, for the configurations.
    planned : callable, optional
        `orthobench.harness.planned.planned_cells`; without it the configurations are not looked at.

    Returns
    -------
    problems : list of Problem
    notes : list of Problem
        What is so for a reason: rows that are superseded, and absent cells that their solvers skip.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    found, problems = read_results(results)
    notes, published = [], [(result.benchmark.folder, result.frame) for result in found]
    if not any(each.where == history.FILE for each in problems):
        told = history.problems(history.load(Path(results) / history.FILE), published, root)
        problems += [Problem(history.FILE, what) for what in told]
    for result in found:
        folder = root / result.benchmark.folder if root else None
        for file in result.files:
            where, frame = file.path.as_posix(), file.frame
            old = history.old(frame)
            if len(old):
                told = "; ".join(map(one_line, old[history.SUPERSEDED].unique()))
                notes.append(Problem(where, f"{len(old)} of {len(frame)} rows are superseded: {told}."))
            problems += [Problem(where, what) for what in _provenance(frame)]
            configuration = folder / "configs" / f"{file.name}.yml" if folder else None
            if planned is not None and configuration is not None and configuration.is_file():
                missing, skipped = _against(frame, planned(folder, configuration))
                problems += [Problem(where, what) for what in missing]
                notes += [Problem(where, f"skipped: {what}") for what in skipped]
            else:
                problems += [Problem(where, what) for what in _uneven(frame)]
    return problems, notes


def _provenance(frame):
    if ENV_COMMIT not in frame or ENV_DIRTY not in frame:
        return [f"its rows tell no commit ({ENV_COMMIT}, {ENV_DIRTY}): run the benchmark again."]
    found = []
    dirty = frame[frame[ENV_DIRTY].isna() | frame[ENV_DIRTY].astype("boolean").fillna(True)]
    if len(dirty):
        found.append(
            f"{len(dirty)} of {len(frame)} rows were computed with uncommitted changes: commit, and run again."
        )
    unknown = frame[frame[ENV_COMMIT].isna() | (frame[ENV_COMMIT].astype(str) == "unknown")]
    if len(unknown):
        found.append(f"{len(unknown)} of {len(frame)} rows come from an unknown commit: run them in a repository.")
    return found


def _against(frame, plan):
    """Return what of a plan is missing in a frame, and what of it its solvers skip: two lists of text."""
    cells = {}
    for dataset, objective, solver, seed in frame[CELL].drop_duplicates().itertuples(index=False, name=None):
        cells.setdefault((dataset, objective, solver), set()).add(seed)
    missing, skipped = [], []
    for each in plan:
        place = f"{each.solver} on {each.dataset}, {each.objective}"
        own = cells.get((each.dataset, each.objective, each.solver), set())
        lost = sorted(set(each.seeds) - own)
        if lost and own:
            missing.append(f"{place}: no repetition {', '.join(map(str, lost))}")
        elif lost:
            reason = _reason(each)
            (skipped if reason else missing).append(f"{place}: {reason or 'no row'}")
    told = [f"{len(missing)} planned cells are missing: {_some(missing)}. Run them again."] if missing else []
    return told, skipped


def _reason(planned):
    try:
        return one_line(planned.skipped())
    except Exception:  # whatever a method or a data set raises: then nothing says that it does not apply
        return ""


def _uneven(frame):
    """Say which solvers lack repetitions that others on the same data set and objective have."""
    lost = []
    for (dataset, objective), rows in frame.groupby(["dataset_name", "objective_name"], sort=True):
        every = set(rows["idx_rep"])
        for solver, own in rows.groupby("solver_name", sort=True):
            absent = sorted(every - set(own["idx_rep"]))
            if absent:
                lost.append(f"{solver} on {dataset}, {objective}: no repetition {', '.join(map(str, absent))}")
    return [f"{len(lost)} solvers lack repetitions that others have: {_some(lost)}."] if lost else []


def _some(texts):
    rest = len(texts) - _SHOWN
    return "; ".join(map(one_line, texts[:_SHOWN])) + (f"; and {rest} more" if rest > 0 else "")


# ----- the site -----


def compare_site(files, site):
    """Compare a site with what the rows give.

    Parameters
    ----------
    files : dict
        What `site.render` returns: the files that the site should have.
    site : str or pathlib.Path
        The site's folder.

    Returns
    -------
    list of Problem
        One a page or file, with the first difference: each figure of each table, the data of each plot to five digits,
        and each download.
    """
    site, problems = Path(site), []
    for path, content in files.items():
        there = site / path
        if not there.is_file():
            problems.append(Problem(path, "is not in the site: build it again."))
            continue
        difference = _difference(path, there.read_bytes(), content)
        if difference:
            problems.append(Problem(path, f"{difference}; build the site again."))
    known = {Path(path) for path in files}
    extra = sorted(path.relative_to(site) for path in site.rglob("*.html") if path.relative_to(site) not in known)
    return problems + [Problem(path.as_posix(), "is a page that no published row gives.") for path in extra]


def _difference(path, ours, wanted):
    if path.endswith(".html"):
        return _table_difference(ours.decode(errors="replace"), wanted.decode())
    if path.startswith("data/"):
        return _data_difference(ours, wanted)
    return "differs from what the rows give" if ours != wanted else ""


def _table_difference(ours, wanted):
    one, other = tables_of(ours), tables_of(wanted)
    if list(one) != list(other):
        return f"has the tables {_some(list(one))}, expected {_some(list(other))}"
    for key, rows in other.items():
        if len(one[key]) != len(rows):
            return f"table {key} has {len(one[key])} rows, expected {len(rows)}"
        for number, (mine, right) in enumerate(zip(one[key], rows, strict=True)):
            if mine != right:
                at = next((i for i, pair in enumerate(zip(mine, right, strict=False)) if pair[0] != pair[1]), 0)
                shown = [repr(row[at]) if at < len(row) else "nothing" for row in (mine, right)]
                return f"table {key}, row {number}, column {at + 1} says {shown[0]}, and the rows give {shown[1]}"
    return ""


def _data_difference(ours, wanted):
    try:
        one, other = (json.loads(b"[" + each.strip().removeprefix(b"orthobench.receive(").removesuffix(b");") + b"]")
                      for each in (ours, wanted))  # fmt: skip
    except ValueError:
        return "is no data"
    return "" if _close(one, other) else "holds other figures than the rows give"


def _close(one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, float) or isinstance(other, float):
        numbers = all(isinstance(each, int | float) for each in (one, other))
        return numbers and math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=1e-300)
    return one == other


def tables_of(html):
    """Map the ids of a page's tables to their rows: lists of the text of each cell, the header's first."""
    parser = _Tables()
    parser.feed(html)
    return parser.tables


class _Tables(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tables, self._rows, self._cell = {}, None, None

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "table" and given.get("id"):
            self._rows = self.tables.setdefault(given["id"], [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th") and self._rows is not None:
            self._cell = []

    def handle_endtag(self, tag):
        if tag == "table":
            self._rows = None
        elif tag in ("td", "th") and self._cell is not None:
            self._rows[-1].append("".join(self._cell))
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)
