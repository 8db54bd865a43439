"""Result files of runs: where they are, what an earlier one holds, and a place that no other run takes."""

import contextlib
import errno
import itertools
import os
import tempfile
from datetime import datetime
from pathlib import Path

import pandas as pd
from benchopt.results import read_results
from benchopt.results.parquet import to_parquet
from filelock import FileLock

from ..files import part, settle

CELL = ["dataset_name", "objective_name", "solver_name", "idx_rep"]
ENDINGS = (".parquet", ".csv")


def result_path(folder, name):
    """Return where rows go: ``NAME.parquet`` in a folder, or at a path as it is given.

    Parameters
    ----------
    folder : pathlib.Path
        Of a benchmark's outputs.
    name : str
        What ``--output`` says; ``None`` stands for a name with the date, as Benchopt has it.

    Raises
    ------
    ValueError
        If it is no name of a file.
    """
    if name == "None":
        name = f"benchopt_run_{datetime.now():%Y-%m-%d_%Hh%Mm%S}"
    path = Path(name) if os.sep in name or (os.altsep and os.altsep in name) else Path(folder) / name
    if not name or name.endswith((os.sep, os.altsep or os.sep)) or path.name in ("", ".", "..") or path.is_dir():
        raise ValueError(f"--output {name!r} is no name of a file: give one such as cpu, or a path such as out/cpu.")
    return path if path.suffix in ENDINGS else path.with_name(f"{path.name}.parquet")


def check_writable(path):
    """Make the folder of a file, and raise `OSError` if nothing can be written to it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path.with_name(f".{path.name}.lock"))  # the longest name that there will be
        with part(path) as new:
            new.write_bytes(b"0")
    except OSError as error:
        told = f"{error.strerror or error}; no cell was run. Give another place: --output FOLDER/NAME"
        raise OSError(f"{path.parent} can't be written to: {told}") from error


def read_rows(path):
    """Return the rows of a result file.

    Raises
    ------
    ValueError
        If it can't be read.
    """
    try:
        frame = read_results(path)
    except Exception as error:  # what readers of parquet raise is their own
        told = f"{path} is no result that can be read: move it away, or give another name"
        raise ValueError(f"{told} ({' '.join(str(error).split())})") from error
    if lacking := [name for name in CELL if len(frame) and name not in frame]:
        raise ValueError(f"{path} is no result of a run, it has no {', '.join(lacking)}: give another name")
    return frame


def save(frame, path):
    """Write rows to a path that is free, and return it: the one given, or with a number, as Benchopt does.

    It is written whole or not at all, and no run that ends at the same time takes the same name. Where the place has
    no room for it, it is written to the folder for temporary files.

    Raises
    ------
    OSError
        If it can't be written there either.
    """
    return _elsewhere_if_full(frame, path, _take_a_free_name)


def complete(frame, path):
    """Write rows in the place of an earlier file's of the same cells, and keep its others; return the path.

    What other runs have added to it meanwhile is kept, too. The same is raised as by `save`.
    """
    frame = dated(frame)
    path = path.resolve()
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            frame = merged(read_rows(path), frame)
        return _elsewhere_if_full(frame, path, os.replace) or path


def merged(earlier, frame):
    """Return the rows of both; where both have a cell, those of the second."""
    if frame.empty or earlier.empty:
        return earlier if frame.empty else frame
    again = pd.MultiIndex.from_frame(frame[CELL])
    kept = earlier[~pd.MultiIndex.from_frame(earlier[CELL]).isin(again)]
    return pd.concat([kept, frame], ignore_index=True)


def _elsewhere_if_full(frame, path, place):
    try:
        return _write(frame, path, place)
    except OSError as error:
        told, other = f"{path} can't be written ({error.strerror or error})", Path(tempfile.gettempdir()) / path.name
        try:
            found = _write(frame, other, _take_a_free_name)
        except OSError:
            remedy = "finished cells are in the cache: make room, and give the same command again"
            raise OSError(f"{told}; {remedy}") from error
        print(f"{told}: the rows are in {found}")
        return found


def _write(frame, path, place):
    frame = dated(frame)
    with part(path) as new:
        frame.to_csv(new, index=False) if path.suffix == ".csv" else to_parquet(frame, new)
        settle(new)
        return place(new, path)


def _take_a_free_name(new, path):
    for number in itertools.count(1):
        try:
            _link(new, path)
            return path
        except FileExistsError:
            stem = path.stem if number == 1 else path.stem.removesuffix(f"_{number - 1}")
            path = path.with_name(f"{stem}_{number}{path.suffix}")


def _link(new, path):
    """Give a file a name that no other has, or raise FileExistsError."""
    try:
        os.link(new, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))  # a file system without links
        os.replace(new, path)


def dated(frame):
    """Return rows with the time at which they are written, unless they have one."""
    return frame if "run_date" in frame else frame.assign(run_date=pd.Timestamp.now().isoformat())
