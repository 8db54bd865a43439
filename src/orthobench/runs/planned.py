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
    seeds = tuple(range(int(config.get("n-repetitions", 1))))
    return [
        Planned(str(dataset), str(objective), str(solver), seeds, _skipping(dataset, objective, solver))
        for dataset, _ in _list_parametrized_classes(*datasets)
        for objective, _ in _list_parametrized_classes(*objectives, check_installed=False)
        for solver, _ in _list_parametrized_classes(*solvers)
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
