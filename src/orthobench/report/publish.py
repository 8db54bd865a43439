"""Published files: how one gets to its place under ``results/``, and the sums that tell a lost or changed one."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

from orthobench.files import write_whole
from orthobench.report import history
from orthobench.report.benchmarks import BENCHMARKS
from orthobench.report.plausible import one_run, provenance
from orthobench.report.site.results import read_results
from orthobench.report.text import read_file

SUMS = "SHA256SUMS"


def publish(file, results, machine, name=None, root=None):
    """Copy a result file to its place under the results, and renew the sums.

    Parameters
    ----------
    file : str or pathlib.Path
        A parquet file that ``benchopt run`` wrote.
    results : str or pathlib.Path
        The folder of all published results.
    machine : str
        What the folder of its machine is called, such as ``epyc_2_cores``.
    name : str, optional
        What it is called there; by default as it is.
    root : pathlib.Path, optional
        The repository, whose history is asked for the commits.

    Returns
    -------
    pathlib.Path
        Where it is now.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, it is no result of this suite, its rows can't be trusted, or they claim cells that
        another file of this machine has. Nothing is changed then.
    """
    file, results = Path(file), Path(results)
    frame, folder = read_file(file)
    benchmark = BENCHMARKS[folder]
    problems = provenance(frame) + one_run(frame, root)[0]
    if problems:
        raise ValueError(f"{file}: {problems[0]}")
    name = file.stem if name is None else name
    for option, given, what, example in (
        ("--machine", machine, "folder", "epyc_2_cores"),
        ("--name", name, "file", "cpu"),
    ):
        if not re.fullmatch(r"(?!\.)[\w.+-]+", given):
            rule = f"letters, digits and _.+- alone, such as {example}"
            raise ValueError(f"{option} {given!r} is no name of a {what}: give one of {rule}.")
    place = Path(benchmark.results) / machine / f"{name}.parquet"
    with tempfile.TemporaryDirectory() as folder:  # beside the others of its machine, as it would be
        beside = Path(folder) / place.parent
        beside.mkdir(parents=True)
        for other in (results / place.parent).glob("*.parquet"):
            if other.name != place.name:
                os.symlink(os.path.realpath(other), beside / other.name)  # also a link to itself
        if (results / history.FILE).exists():
            os.symlink((results / history.FILE).resolve(), Path(folder) / history.FILE)
        before = read_results(folder)[1]  # what is wrong with others is no reason
        os.symlink(file.resolve(), beside / place.name)
        conflicts = [each for each in read_results(folder)[1] if each not in before]
    if conflicts:
        raise ValueError(str(conflicts[0]))
    (results / place.parent).mkdir(parents=True, exist_ok=True)
    write_whole(results / place, file.read_bytes())
    write_whole(results / SUMS, sums(results).encode())
    return results / place


def sums(results):
    """Return the sums of all published files as ``sha256sum`` writes and checks them."""
    return "".join(f"{told}  {name}\n" for name, told in _sums(results).items())


def _sums(results):
    files = (path for path in sorted(Path(results).rglob("*.parquet")) if path.is_file())
    return {path.relative_to(results).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def compare_sums(results):
    """Map each file that isn't what the sums say to what is wrong with it."""
    path = Path(results) / SUMS
    if not path.is_file():
        return {SUMS: "is missing: `orthobench publish` writes it."}
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if line]
    read = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines]
    if not all(read):
        strange = lines[read.index(None)]
        return {SUMS: f"has the line {strange[:60]!r}, which is no sum: restore it, or use `orthobench publish`."}
    told, found = {each[2]: each[1] for each in read}, _sums(results)
    wrong = {name: "is gone: restore it, or take its line out of the sums." for name in told.keys() - found.keys()}
    wrong |= {name: "is not in the sums: use `orthobench publish`." for name in found.keys() - told.keys()}
    wrong |= {
        name: "is not the file that was published: restore it, or use `orthobench publish`."
        for name in found.keys() & told.keys()
        if found[name] != told[name]
    }
    return dict(sorted(wrong.items()))
