"""Whether published rows can be trusted, and whether a site shows what they say."""

import contextlib
import hashlib
import io
import re
from html.parser import HTMLParser
from itertools import zip_longest
from pathlib import Path

from orthobench.report import history
from orthobench.report.names import normalised
from orthobench.report.page import one_line, shorten
from orthobench.report.plausible import one_run, provenance
from orthobench.report.publish import compare_sums
from orthobench.report.site.build import head, render
from orthobench.report.site.changes import lack
from orthobench.report.site.results import CELL, Problem, read_results
from orthobench.report.site.vendor import SCRIPTS

_INDEX = "index.html"
_SHOWN = 2  # examples in a message


def verify(results, root=None, planned=None):
    """Check all published rows.

    A file must be what its sum says, readable, a result of this suite, and in the folder of a benchmark and machine;
    its solvers must not have run in the harness's process for debugging; no two files of a machine may claim the same
    cell; figures must be possible; rows must come from one commit of the repository, with no change to it, and one
    host; each solver must have all repetitions; and where a file is named after a configuration of its benchmark, each
    cell that this plans must be there, unless its solver skips it. Each entry of the `history` must be about rows, and
    name a solver of its benchmark.

    Parameters
    ----------
    results : str or pathlib.Path
    root : pathlib.Path, optional
        The repository, for the configurations.
    planned : callable, optional
        `orthobench.runs.planned.planned_cells`; without it the configurations are not looked at.

    Returns
    -------
    problems : list of Problem
    notes : list of Problem
        What is so for a reason: rows that are superseded, absent cells that their solvers skip; and what could not be
        checked.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    found, problems = read_results(results)
    problems += [Problem(where, what) for where, what in compare_sums(results).items()]
    notes, published = [], [(result.benchmark.folder, result.frame) for result in found]
    if not any(each.where == history.FILE for each in problems):
        told = history.problems(history.load(Path(results) / history.FILE), published, root)
        problems += [Problem(history.FILE, what) for what in told]
    for result in found:
        folder = root / result.benchmark.folder if root else None
        for file in result.files:
            where, frame = file.path.as_posix(), file.frame
            wrong, told = one_run(frame, root)
            problems += [Problem(where, what) for what in (*provenance(frame), *wrong)]
            old = history.old(frame)
            if len(old):
                reasons = "; ".join(map(one_line, old[history.SUPERSEDED].unique()))
                told.append(f"{len(old)} of {len(frame)} rows are superseded: {reasons.rstrip('.')}.")
            notes += [Problem(where, what) for what in told]
            configuration = folder / "configs" / f"{file.name}.yml" if folder else None
            if planned is not None and configuration is not None and configuration.is_file():
                missing, skipped = _against(frame, planned(folder, configuration))
                problems += [Problem(where, what) for what in missing]
                if skipped:
                    told = f"{len(skipped)} planned cells are skipped by their solvers: {_some(skipped)}."
                    notes.append(Problem(where, told))
            else:
                problems += [Problem(where, what) for what in _uneven(frame)]
    return problems, notes


def _against(frame, plan):
    """Return how a frame differs from a plan, and what of the plan its solvers skip: two lists of text."""
    cells = {}
    for dataset, objective, solver, seed in frame[CELL].drop_duplicates().itertuples(index=False, name=None):
        cells.setdefault((dataset, objective, solver), set()).add(seed)
    missing, skipped, unplanned = [], [], []
    for each in plan:
        place = f"{each.solver} on {each.dataset}, {each.objective}"
        own = cells.get((each.dataset, each.objective, normalised(each.solver)), set())
        lost, more = sorted(set(each.seeds) - own), sorted(own - set(each.seeds))
        if more:
            unplanned.append(f"{place}: repetition {', '.join(map(str, more))}")
        if lost and own:
            missing.append(f"{place}: no repetition {', '.join(map(str, lost))}")
        elif lost:
            reason, doubt = _reason(each)
            told = f"no row, and whether it is skipped can't be told ({doubt})" if doubt else reason or "no row"
            (skipped if reason else missing).append(f"{place}: {told}")
    told = [f"{len(missing)} planned cells are missing: {_some(missing)}. Run them again."] if missing else []
    told += [f"{len(unplanned)} solvers have more than planned: {_some(unplanned)}."] if unplanned else []
    return told, skipped


def _reason(planned):
    """Return why a solver skips a planned cell, and what keeps that from being known; empty if nothing does."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a solver that raises leaves its traceback there
            return one_line(planned.skipped()), ""
    except Exception as error:  # whatever a method or a data set raises: then nothing says that it does not apply
        return "", shorten(f"{type(error).__name__}: {error}", 200)


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

OF_HISTORY = ("changes.html", "changes.xml")  # files that depend on it


def check_site(results, site, root=None, **where):
    """Compare a site with what the rows give, and its changes with the history of git, where there is one.

    A site is of a commit, which its pages tell. It is rendered again as of that commit: the site of an earlier commit
    is what the rows of today give as long as these, the claims, the documents and the code are those of then.

    Parameters
    ----------
    results, site : str or pathlib.Path
    root : pathlib.Path, optional
        The repository.
    **where
        The address that the site was built with, see `render`.

    Returns
    -------
    problems, notes : list of Problem
    """
    revision, here = _revision_of(site), head(root)
    reason = lack(results, revision) if revision else ""
    problems, notes = [], []
    if reason and not lack(results, here):
        problems.append(Problem(_INDEX, f"is of commit {revision[:12]}, which is not in the history: build it again."))
    elif reason:
        notes.append(Problem(" and ".join(OF_HISTORY), f"not checked: {reason}."))
    if here and revision != here:
        told = f"is of {f'commit {revision[:12]}' if revision else 'no commit'}, and {here[:12]} is checked out"
        notes.append(Problem(_INDEX, f"{told}: footers and changes are compared as of the first."))
    files, _ = render(results, root=root, revision=revision, **where)
    return problems + compare_site(files, site, OF_HISTORY if reason else ()), notes


def _revision_of(site):
    """Return the commit that a site's footer says it is of; empty if it says none."""
    page = Path(site) / _INDEX
    found = re.findall(r'/commit/([0-9a-f]{40})"', page.read_text(errors="replace")) if page.is_file() else []
    return found[-1] if found else ""


def compare_site(files, site, unread=()):
    """Compare a site with what the rows give, byte for byte.

    Parameters
    ----------
    files : dict
        What `site.render` returns: the files that the site should have.
    site : str or pathlib.Path
        The site's folder.
    unread : tuple of str
        Files whose content can't be checked: they must be there.

    Returns
    -------
    list of Problem
        One a file that is missing, that differs (with the first figure of a table that does), or that no row gives.
    """
    site, problems = Path(site), []
    scripts = {f"assets/{each.name}": each.sha256 for each in SCRIPTS}
    found = {
        path.relative_to(site).as_posix(): path
        for path in sorted(site.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }
    for path in dict.fromkeys((*files, *scripts, *found)):
        if path not in found:
            problems.append(Problem(path, "is not in the site: build it again."))
        elif path not in files and path not in scripts:
            problems.append(Problem(path, "is a file that no published row gives."))
        elif not found[path].is_file():
            problems.append(Problem(path, "is no file; build the site again."))
        else:
            content = found[path].read_bytes()
            if path in scripts and hashlib.sha256(content).hexdigest() != scripts[path]:
                problems.append(Problem(path, "is not the script that the pages are for; build the site again."))
            elif path in files and path not in unread and content != files[path]:
                problems.append(Problem(path, f"{_difference(path, content, files[path])}; build the site again."))
    return problems


def _difference(path, ours, wanted):
    if path.endswith(".html"):
        told = _table_difference(ours.decode(errors="replace"), wanted.decode())
        if told:
            return told
    lines = zip_longest(ours.splitlines(), wanted.splitlines())
    number = next((number for number, (one, other) in enumerate(lines, start=1) if one != other), 1)
    return f"differs from what the rows give, first in line {number}"


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
