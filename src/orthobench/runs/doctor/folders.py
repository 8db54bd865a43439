"""Folders that runs write to: how large they are, whether they can be written, and what is free on their disks."""

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from orthobench.runs.doctor.lines import MOST, Line, attempt, said, short

NEEDED = 500_000_000  # bytes of disk: a quick run leaves less than a fifth, and compilers and stands take some


@dataclass(frozen=True)
class Folder:
    """A folder, which may not be there yet."""

    path: Path
    size: int | None = None  # bytes of its files, if they were counted
    free: int = 0  # bytes that are free on its disk
    unread: bool = False  # whether it holds folders that can't be listed
    problem: str = ""  # why nothing can be written there


class Group(NamedTuple):
    """Folders of one kind."""

    folders: list
    remedy: str  # where one can't be written
    needed: bool = True  # whether a quick run fails, or takes far longer, where one can't be written


def look_at(path, without=None, counted=True):
    """Return the `Folder` of a path; nothing is left behind there.

    Parameters
    ----------
    path : str or path-like
    without : path-like, optional
        A folder whose files are not counted.
    counted : bool
        Whether any are.
    """
    path = Path(path).expanduser().absolute()
    size, unread = _count(path, without) if counted else (None, False)
    place = path
    while not os.path.lexists(place):  # where the first folder would be made
        place = place.parent
    problem, free = "", 0
    try:
        free = shutil.disk_usage(place).free
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        problem = error.strerror or str(error)
    return Folder(path, size, free, unread, problem)


def _count(path, without):
    without = None if without is None else os.path.realpath(without)
    size, failures = 0, []
    for here, folders, files in os.walk(path, onerror=failures.append):
        if os.path.realpath(here) == without:
            folders.clear()
            continue
        for name in files:
            with contextlib.suppress(OSError):  # gone meanwhile
                size += os.lstat(os.path.join(here, name)).st_size
    return size, any(not isinstance(each, FileNotFoundError | NotADirectoryError) for each in failures)


def told(size):
    """Return a number of bytes as a text."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def lines(root, benchmarks):
    """Say of caches, outputs and downloads where they are and how large, and of each what can't be written.

    Parameters
    ----------
    root : pathlib.Path or None
        The clone's folder.
    benchmarks : dict of str to Available or Exception
        By their folders.
    """
    looks = {"cache": _cache, "downloads": _downloads}
    if root is not None:
        looks["Benchopt's"] = lambda: _benchopts(benchmarks)
        looks["outputs"] = lambda: _outputs(root, benchmarks)
    looks["temporary"] = _temporary
    found, written = [], []
    for label, look in looks.items():
        group = attempt(look)
        if isinstance(group, Exception):
            found.append(Line(label, f"can't be told: {said(group)}"))
            continue
        found += _group(label, group)
        written += [(each.free, each.path) for each in group.folders if group.needed and not each.problem]
    return found + _disk(written)


def _cache():
    from orthobench.data.cache import LOCATION_VARIABLE, cache_folder
    from orthobench.data.download import downloads_folder

    looked = look_at(cache_folder(), without=downloads_folder())
    return Group([looked], f"set {LOCATION_VARIABLE} to a folder that can")


def _downloads():
    from orthobench.data.download import LOCATION_VARIABLE, downloads_folder

    return Group([look_at(downloads_folder())], f"set {LOCATION_VARIABLE} to a folder that can", needed=False)


def _benchopts(benchmarks):
    paths = [each.cache for each in benchmarks.values() if not isinstance(each, Exception)]
    return Group(list(map(look_at, paths)), "move that away, or set BENCHOPT_CACHE to a folder that can")


def _outputs(root, benchmarks):
    return Group([look_at(root / folder / "outputs") for folder in dict.fromkeys([".", *benchmarks])], "move that away")


def _temporary():
    remedy = "set TMPDIR to a folder that can"
    try:
        return Group([look_at(tempfile.gettempdir(), counted=False)], remedy)
    except FileNotFoundError as error:  # no folder can be written
        return Group([Folder(Path(os.environ.get("TMPDIR", "/tmp")), problem=str(error))], remedy)  # noqa: S108 - to show it


def _group(label, group):
    failing = [each for each in group.folders if each.problem]
    if failing:
        texts = [f"{short(each.path)} can't be written ({each.problem}): {group.remedy}" for each in failing]
        return [Line(label, text, fails=group.needed) for text in texts[:MOST]]
    counted = [each for each in group.folders if each.size is not None]
    if not counted:
        return []
    at_least = "at least " * any(each.unread for each in counted)
    where = short(counted[0].path) if len(counted) == 1 else f"{len(counted)} folders"
    return [Line(label, f"{at_least}{told(sum(each.size for each in counted))} in {where}")]


def _disk(written):
    """Say what is free for folders that are given as (bytes that are free on its disk, path)."""
    if not written:
        return []
    free, path = min(written)
    if free < NEEDED:
        return [Line("disk", f"{told(free)} free at {short(path)}: free some, {told(NEEDED)} are needed", fails=True)]
    return [Line("disk", f"{told(free)} free")]
