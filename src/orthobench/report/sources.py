"""Which result files a command means: by name, by folder, by pattern, or by benchmark."""

import glob
import os
from pathlib import Path

from orthobench.report.benchmarks import BENCHMARKS, ROOT

SUFFIX = ".parquet"
MEANING = (
    f"a result file; a folder, for all {SUFFIX} files below it; a pattern such as 'results/**/*{SUFFIX}', quoted or "
    "not; or a benchmark, by the name of its folder (benchmark_muon; . in the root), for the newest file of its "
    "outputs/, or else its published results. Without any: every benchmark"
)


def find(named, benchmarks=None):
    """Return the files that are meant, each once.

    Parameters
    ----------
    named : list of str
        As `MEANING` says.
    benchmarks : sequence of Benchmark, optional
        Those that are meant if nothing is named; by default all.

    Returns
    -------
    paths : list of pathlib.Path
    lacking : list of str
        What names nothing, and what to do.
    """
    paths, lacking = {}, []
    for text in named:
        try:
            found, lack = _meant(text)
        except OSError as error:  # a name that is too long, a folder that can't be read
            found, lack = [], f"{text}: {error.strerror}."
        for path in found:
            paths.setdefault(os.path.realpath(path), path)  # also of a link to itself
        lacking += [lack] if lack else []
    if not named:
        paths = {path: path for benchmark in benchmarks or BENCHMARKS.values() for path in newest(benchmark)}
        lacking = [] if paths else ["there are no results here: `orthobench quick` makes some in a few minutes."]
    return list(paths.values()), lacking


def machine_of(path):
    """Return the machine of a published file, the name of its folder; empty of a file that is not published."""
    folders = Path(path).resolve().parents
    published = {each.results for each in BENCHMARKS.values()}
    return folders[0].name if len(folders) > 1 and folders[1].name in published else ""


def newest(benchmark):
    """Return the newest file of a benchmark's own outputs, or else its published ones; none if it has neither."""
    outputs = (ROOT / benchmark.folder / "outputs").glob(f"*{SUFFIX}")
    own = sorted(outputs, key=lambda path: (path.lstat().st_mtime_ns, path.name))
    return [_from_here(path) for path in own[-1:] or _below(ROOT / "results" / benchmark.results)]


def _meant(text):
    """Return the files that one text means, or else what it lacks."""
    path, benchmark = Path(text), _benchmark(text)
    if benchmark:
        found, lack = newest(benchmark), f"it has no results: `orthobench quick {benchmark.folder}` makes some."
    elif path.is_dir() and path.suffix != SUFFIX and text:
        found, lack = _below(path), f"there is no {SUFFIX} file in this folder."
    elif path.exists() and text:
        found, lack = [path], ""
    elif glob.has_magic(text):
        matches = [Path(each) for each in sorted(glob.glob(text, recursive=True))]
        files = [each for each in matches if each.suffix == SUFFIX]
        found = files or [each for folder in matches if folder.is_dir() for each in _below(folder)]
        lack = f"no {SUFFIX} file matches this pattern; `**` matches any number of folders."
    else:
        found, lack = [], f"no such file, folder or benchmark. The benchmarks are {', '.join(BENCHMARKS)}."
    return found, "" if found else f"{text or repr(text)}: {lack}"


def _benchmark(text):
    """Return the benchmark that a text names, by its folder from here or by its name from anywhere."""
    path = Path(text)
    if not text or not path.exists():
        return BENCHMARKS.get(path.as_posix()) if text else None
    here = path.resolve()
    return next((each for each in BENCHMARKS.values() if (ROOT / each.folder).resolve() == here), None)


def _below(folder):
    """Return the result files below a folder, but for those in hidden folders."""
    found = sorted(folder.rglob(f"*{SUFFIX}"))
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _from_here(path):
    """Return a path as seen from the folder that is worked in, if it is below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
