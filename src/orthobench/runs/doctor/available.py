"""What of a benchmark can run here: its solvers, its data sets, and its quick configurations."""

import contextlib
import inspect
import io
import os
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from benchopt.benchmark import Benchmark

from orthobench.data.download import OFFLINE_VARIABLE, Source, data_folder
from orthobench.runs import QUICK
from orthobench.runs.doctor.packages import installed
from orthobench.runs.planned import planned_cells

# Where the files of a data set are.
HERE, DOWNLOAD, BY_HAND, NAMED = "here", "to download", "to get by hand", "named by a parameter"


@dataclass(frozen=True)
class Part:
    """A solver, data set or objective: what it lacks here."""

    name: str
    packages: tuple = ()  # that it requires, and that aren't installed
    problem: str = ""  # why it can't be loaded, where that is something else
    files: str = HERE
    found: str = ""  # how many of its files are here, if that is a part of them

    @property
    def runs(self):
        """Whether its code can run, files aside."""
        return not self.packages and not self.problem


@dataclass(frozen=True)
class Quick:
    """A quick configuration, and why it can't run; it can if all is empty."""

    name: str
    packages: tuple = ()
    problems: tuple = ()
    files: tuple = ()  # data sets that can't be had
    downloads: tuple = ()  # data sets that a run downloads first


@dataclass(frozen=True)
class Available:
    """A benchmark's parts."""

    cache: Path  # Benchopt's
    solvers: list = field(default_factory=list)
    datasets: list = field(default_factory=list)
    quick: list = field(default_factory=list)


def available(where):
    """Return what of a benchmark can run here: nothing is run, downloaded or written.

    Parameters
    ----------
    where : pathlib.Path
        Its folder.

    Returns
    -------
    Available
    """
    # Benchopt prints the traceback of each file that lacks a package.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        benchmark = Benchmark(where)
        objective = _part(benchmark.get_benchmark_objective())
        solvers = [_part(each) for each in benchmark.get_solvers()]
        datasets = [_part(each, *_files(each)) for each in benchmark.get_datasets()]
        quick = [_quick(where, path, objective, solvers, datasets) for path in sorted((where / "configs").glob(QUICK))]
    return Available(Path(benchmark.get_cache_location()), solvers, datasets, quick)


def _part(made, files=HERE, found=""):
    names = [each.partition("::")[2] for each in made.requirements or () if each.startswith("pip::")]
    packages = tuple(name for name in names if installed(name) is None)
    problem = getattr(made, "problem", "")  # of a solver's file that breaks a rule
    if not packages and not made.is_installed(quiet=True):
        problem = str(made._exc) or type(made._exc).__name__
    return Part(made.name, packages, problem, files, found)


def _files(dataset):
    """Return where the files of a data set are, as `Part` has it, and how many of them are here if that is a part."""
    if "file" in dataset.parameters:
        return NAMED, ""
    if not dataset.is_installed(quiet=True) or not hasattr(dataset, "folder"):
        return HERE, ""
    loaders = vars(sys.modules[dataset.__module__]).values()
    folder = dataset.get_instance().folder()
    found = [_found(source, data_folder(source, folder)) for source in filter(None, map(_source, loaders))]
    return next((each for each in found if each[0] != HERE), (HERE, ""))


def _source(loader):
    """Return the `Source` that a function loads from unless it is given another one; None of anything else."""
    parameters = inspect.signature(loader).parameters if inspect.isfunction(loader) else {}
    default = getattr(parameters.get("source"), "default", None)
    return default if isinstance(default, Source) else None


def _found(source, folder):
    whole = [name for name in source.files if "/" not in name]
    extracted = [name for name in source.files if "/" in name]
    if not source.urls:  # the files come with a package, unless nobody knows which they are
        return (HERE if source.files or folder.is_dir() else BY_HAND), ""
    if extracted and all((folder / name).exists() for name in extracted):
        return HERE, ""
    found = sum((folder / name).exists() for name in whole)
    return (HERE if found == len(whole) else DOWNLOAD), f"{found} of {len(whole)} files" if found else ""


def _quick(where, path, objective, solvers, datasets):
    try:
        cells = planned_cells(where, path)
    except Exception as error:  # of a configuration, or of a file that it makes Benchopt load
        return Quick(path.name, problems=(str(error) or type(error).__name__,))
    names = {_family(cell.solver) for cell in cells}, {_family(cell.dataset) for cell in cells}
    used = [objective, *(each for each in solvers if each.name in names[0])]
    data = [each for each in datasets if each.name in names[1]]
    packages = dict.fromkeys(package for each in (*used, *data) for package in each.packages)
    problems = tuple(f"{each.name}: {each.problem}" for each in (*used, *data) if each.problem)
    lacking = [each for each in data if each.files == BY_HAND or (each.files == DOWNLOAD and offline())]
    downloads = tuple(each.name for each in data if each.files == DOWNLOAD and each not in lacking)
    return Quick(path.name, tuple(packages), problems, tuple(each.name for each in lacking), downloads)


def _family(name):
    return name.partition("[")[0]


def offline():
    """Return whether nothing may be downloaded."""
    return os.environ.get(OFFLINE_VARIABLE, "0") != "0"
