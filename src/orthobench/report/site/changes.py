"""How published results changed: by commit, which files, and which verdicts moved."""

import os
import subprocess
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from orthobench.report import history
from orthobench.report.benchmarks import BENCHMARKS, FILE
from orthobench.report.cells import REQUIRED
from orthobench.report.page import one_line
from orthobench.report.site.results import read_results
from orthobench.report.site.verdicts import Judged, check, entries, load_all
from orthobench.report.site.workers import at_once

MOST = 50  # commits that are listed
RULES = ("claims.toml", FILE)  # files besides the results whose commits are listed
_ROWS = 500  # of the files of a benchmark and machine, roughly: whether processes pay
_REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class Move:
    """A claim whose verdict is another one since a commit."""

    judged: Judged  # as it is since then
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """A commit of the main line that changed results, or what they are judged by."""

    commit: str
    date: str  # of the commit, in UTC: 2026-01-02T03:04:05Z
    subject: str
    files: tuple  # of pairs of text: added, changed or removed, and the path in the repository
    moves: tuple
    rules: bool = False  # whether it changed the rules alone

    @property
    def anchor(self):
        """Its place on the page."""
        return f"commit-{self.commit[:12]}"


@dataclass(frozen=True)
class Changes:
    """The changes of some results, the newest first."""

    listed: tuple = ()
    older: bool = False  # whether there are more than are listed
    lack: str = ""  # why there is no history to read; empty if there is


@dataclass(frozen=True)
class _Tree:
    """What the repository held at a commit: of results by benchmark and machine, and of rules, the blobs by path."""

    commit: str
    date: str
    subject: str
    blobs: dict

    def files(self, prefix):
        """Map the folders of benchmarks and machines below ``prefix`` to their files: blobs by name."""
        found = {}
        for path, blob in self.blobs.items():
            parts = path.removeprefix(prefix).split("/")
            if path.startswith(prefix) and len(parts) == 3 and path.endswith(".parquet"):
                found.setdefault((parts[0], parts[1]), {})[parts[2]] = blob
        return found


def lack(results, revision):
    """Return why the history up to a commit can't be read beside some results; empty if it can."""
    if not revision:
        return "this copy has no history of git"
    try:
        shallow = _git(results, "rev-parse", "--is-shallow-repository").strip()
        if shallow != "false":
            return "this copy has no whole history of git (git fetch --unshallow)"
        _git(results, "merge-base", "--is-ancestor", revision, "HEAD")
    except OSError:
        return "there is no git here"
    except subprocess.CalledProcessError:
        return f"commit {revision[:12]} is not in a history of git here"
    return ""


def changes(results, documents, revision):
    """Read the changes of results from the history of their repository, up to a commit.

    The commits are those of the main line (the first parents): a merge counts as one. The results of each are judged
    by the code and the claims of today, under the names of today (by the aliases of all these commits), with what was
    superseded then: only what the rows say moves a verdict.

    Parameters
    ----------
    results : str or pathlib.Path
    documents : Documents
        For the claims.
    revision : str
        The commit, of 40 digits; empty where there is none.

    Returns
    -------
    Changes
    """
    results = Path(results)
    reason = lack(results, revision)
    if reason:
        return Changes(lack=reason)
    try:
        trees = _trees(results, revision)
        prefix = _git(results, "rev-parse", "--show-prefix").rstrip("\n")
        judge = _Judge(results, prefix, load_all(documents)[0], _load(results / history.FILE))
        judge.prepare(trees)
        verdicts = [judge.verdicts(tree) for tree in trees]
    except (OSError, OverflowError, ValueError, subprocess.CalledProcessError):
        return Changes(lack="the history of git here can't be read whole")
    empty = _Tree("", "", "", {})
    pairs = zip(trees, [*trees[1:], empty], verdicts, [*verdicts[1:], judge.verdicts(empty)], strict=True)
    listed = [_change(new, old, now, before) for new, old, now, before in pairs]
    return Changes(tuple(listed[:MOST]), len(listed) > MOST)


def _change(new, old, now, before):
    kinds = {(True, False): "added", (False, True): "removed", (True, True): "changed"}
    files = [
        (kinds[path in new.blobs, path in old.blobs], one_line(path))
        for path in sorted(new.blobs.keys() | old.blobs.keys())
        if new.blobs.get(path) != old.blobs.get(path)
    ]
    moves = [
        Move(judged, before[key].verdict.label, judged.verdict.label)
        for key, judged in now.items()
        if judged.verdict.label != before[key].verdict.label
    ]
    ruling = all(_is_rule(path) for _, path in files)
    return Change(new.commit, new.date, new.subject, tuple(files), tuple(moves), ruling)


def _is_rule(path):
    return path.split("/")[-1] in RULES and path.count("/") < 2


# ----- the repository -----


def _git(folder, *arguments, text=True):
    offline = {**os.environ, "GIT_NO_LAZY_FETCH": "1"}
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True, env=offline)
    return done.stdout.decode(errors="replace") if text else done.stdout


def _trees(results, revision):
    """Return the commits that changed results or rules, the newest first; one more than is listed, to compare with."""
    rules = [f":(top,glob){folder}{name}" for folder in ("", "*/") for name in RULES]
    alike = ("-z", "--no-show-signature", "--encoding=UTF-8")  # whatever the reader's own settings are
    options = (*alike, "--first-parent", f"--max-count={MOST + 1}", "--format=%H%x00%ct%x00%s")
    listed = _git(results, "log", *options, revision, "--", ".", *rules)
    fields = listed.split("\0")
    prefix = _git(results, "rev-parse", "--show-prefix").rstrip("\n")
    found = []
    for commit, seconds, subject in zip(fields[0::3], fields[1::3], fields[2::3], strict=False):
        date = datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        blobs = {}
        for line in filter(None, _git(results, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0")):
            told, _, path = line.partition("\t")
            mode, _, blob = told.split()
            if mode in _REGULAR and (path.startswith(prefix) or _is_rule(path)):
                blobs[path] = blob
        found.append(_Tree(commit, date, one_line(subject), blobs))
    return found


def _load(path):
    """Return a `History`; an empty one in the place of one that can't be read, as on all pages."""
    try:
        return history.load(path)
    except ValueError:
        return history.History()


# ----- verdicts -----


class _Judge:
    """Judges the results of commits, those of a benchmark and machine once as long as they stay the same."""

    def __init__(self, repository, prefix, listed, now):
        self.repository, self.prefix, self.listed, self.aliases = repository, prefix, listed, now.aliases
        self._made, self._histories = {}, {}

    def prepare(self, trees):
        """Judge all that is different, at once."""
        # A name that no row has any more is needed for the rows that had it.
        known = {each.renames: each for tree in reversed(trees) for each in self._history(tree).aliases}
        self.aliases = tuple((known | {each.renames: each for each in self.aliases}).values())
        work = dict.fromkeys(key for tree in trees for key in self._keys(tree))
        arguments = [(str(self.repository), *key, self.aliases, self.listed[key[0]]) for key in work]
        for key, made in zip(work, at_once(_judged, arguments, _ROWS * len(work)), strict=True):
            self._made[key] = [Judged(verdict, BENCHMARKS[key[0]], *where) for verdict, *where in made]

    def verdicts(self, tree):
        """Return the entry of each claim at a commit, by benchmark and claim."""
        found = {}
        own = {}
        for key in self._keys(tree):
            own.setdefault(key[0], []).extend(self._made[key])
        for folder, listed in self.listed.items():
            judged = own.get(folder) or _nothing(folder, listed)
            found |= {(folder, each.verdict.claim.id): each for each in entries(judged)}
        return found

    def _keys(self, tree):
        """List what is judged at a commit: benchmark, machine, files and the superseded rows, as what can be a key."""
        superseded = self._history(tree).superseded
        for (place, machine), blobs in sorted(tree.files(self.prefix).items()):
            folder = next((each.folder for each in BENCHMARKS.values() if each.results == place), None)
            if folder in self.listed:
                entries = tuple(
                    replace(each, commits=tuple(each.commits), datasets=tuple(each.datasets))
                    for each in superseded
                    if each.benchmark == folder
                )
                yield folder, machine, tuple(sorted(blobs.items())), entries

    def _history(self, tree):
        blob = tree.blobs.get(f"{self.prefix}{history.FILE}")
        if blob not in self._histories:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / history.FILE
                if blob:
                    path.write_bytes(_git(self.repository, "cat-file", "blob", blob, text=False))
                self._histories[blob] = _load(path)
        return self._histories[blob]


def _judged(repository, folder, machine, blobs, superseded, aliases, listed):
    """Return what files of a benchmark and machine say of its claims: verdicts, each with the machine and device."""
    with tempfile.TemporaryDirectory() as results:
        place = Path(results) / BENCHMARKS[folder].results / machine
        place.mkdir(parents=True)
        for name, blob in blobs:
            (place / name).write_bytes(_git(repository, "cat-file", "blob", blob, text=False))
        try:
            found, _ = read_results(results, history.History(aliases, superseded))
            return [(each, own.machine, own.device) for own in found for each in check(own.frame, listed)[0]]
        except Exception:  # whatever rows of another time make of the code of today: they say nothing
            return []


def _nothing(folder, listed):
    """Return the verdicts without rows."""
    verdicts, _ = check(pd.DataFrame(columns=list(REQUIRED)), listed)
    return [Judged(each, BENCHMARKS[folder]) for each in verdicts]
