"""Which cells a configuration plans, and which of them a solver skips."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from benchopt.benchmark import Benchmark, _list_parametrized_classes
from benchopt.utils.run_context import RunContext


@dataclass(frozen=True)
class Planned:
    """A solver on a data set and objective, as rows name them, and the repetitions that it should have."""

    dataset: str
    objective: str
    solver: str
    seeds: tuple
    skipped: object  # a callable: why the solver does not apply, "" if it does; it may have to make the data
    installed: bool = True

    def cells(self):
        """List its cells, as `orthobench.runs.results.CELL` has them."""
        return [(self.dataset, self.objective, self.solver, seed) for seed in self.seeds]


def planned_cells(folder, configuration):
    """List what a configuration of a benchmark plans, installed or not.

    Parameters
    ----------
    folder : str or pathlib.Path
        The benchmark's.
    configuration : str or pathlib.Path
        A file as ``benchopt run --config`` takes it.

    Returns
    -------
    list of Planned

    Raises
    ------
    ValueError
        If the configuration names what the benchmark has not.
    """
    benchmark = Benchmark(Path(folder))
    config = yaml.safe_load(Path(configuration).read_text(encoding="utf-8")) or {}
    try:
        datasets = benchmark.check_dataset_patterns(config.get("dataset", ["all"]))
        solvers = benchmark.check_solver_patterns(config.get("solver", ["all"]))
        default = [benchmark.get_benchmark_objective().name]
        objectives = benchmark.check_objective_filters(config.get("objective", default))
    except Exception as error:  # Benchopt raises a click exception
        raise ValueError(f"{configuration}: {' '.join(str(error).split())}") from error
    return plan(datasets, objectives, solvers, int(config.get("n-repetitions", 1)))


def plan(datasets, objectives, solvers, repetitions):
    """List what is planned of Benchopt's classes with parameters, installed or not; returns a list of `Planned`."""
    return [
        Planned(
            str(dataset),
            str(objective),
            str(solver),
            tuple(range(repetitions)),
            _skipping(dataset, objective, solver),
            dataset_there and solver_there,
        )
        for dataset, dataset_there in _list_parametrized_classes(*datasets)
        for objective, _ in _list_parametrized_classes(*objectives, check_installed=False)
        for solver, solver_there in _list_parametrized_classes(*solvers)
    ]


def _skipping(dataset, objective, solver):
    def skipped():
        context = RunContext(
            dataset_name=str(dataset),
            objective_name=str(objective),
            solver_name=str(solver),
            base_seed="0",
            repetition=0,
        )
        context.attach(objective, dataset, solver)
        for skip, reason in (objective._set_dataset(dataset), solver.skip(**objective.get_objective())):
            if skip:
                return reason or "no reason given"
        return ""

    return skipped
