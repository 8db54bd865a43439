"""Figures of `benchmark_lipschitz`: certified accuracy against radius, loss and cost, and overhead by batch size."""

import re

import pandas as pd

from orthobench.report.benchmarks import BENCHMARKS, METRICS, radii
from orthobench.report.cells import check_frame
from orthobench.report.curves import Trace, traces_apart
from orthobench.report.leaderboard import find_baseline
from orthobench.report.medians import last_by_solver, median_curve, radius_traces
from orthobench.report.names import parameters, short_solvers, without
from orthobench.report.page import options

BENCHMARK = BENCHMARKS["benchmark_lipschitz"]
RADII = radii(BENCHMARK, "certified_accuracy")
HEADLINE = RADII[0]

# By the objective's task: the metric at radius 0, and what the metric at another begins with.
BY_RADIUS = {
    "classification": ("accuracy", "certified_accuracy"),
    "one_class": ("certified_auroc_0", "certified_auroc"),
    "explanation": ("accuracy", "certified_accuracy"),
}
COSTS = ("step_time_ms", "inference_time_ms", "peak_memory_bytes", "parameters")
BATCH_SIZE = "batch_size"
UNCONSTRAINED = "Plain"


def robustness_traces(frame, dataset, objective):
    """Return certified accuracy (one class: certified AUROC) against radius, and the attacked accuracy at 36/255.

    See `radius_traces`; the clean figure is at 0.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    clean, certified = BY_RADIUS[task_of(objective)]
    metrics = {0: clean} | {radius: f"{certified}_{radius}" for radius in RADII}
    return radius_traces(frame, dataset, objective, metrics, HEADLINE, "attacked_accuracy")


def overhead_traces(frame, dataset, objective, metric="step_time_ms", baseline=UNCONSTRAINED, key=BATCH_SIZE):
    """Return a metric divided by the baseline's, on the same seeds, against the batch size or another size.

    Per solver: the median over the seeds of the ratio at each size, with its interval as a band. The baseline itself
    is a line at 1. Of times and memory, what ran in processes of several kinds is apart.

    Parameters
    ----------
    dataset : str
        A data set's name without its size, as `overhead_menu` has it.
    baseline : str
    key : str
        The parameter of the data set that is, or ends with, the size: ``batch_size=64``, ``network=mlp-64-256``.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """

    def drawn(part):
        return _overheads(part, dataset, objective, metric, baseline, key)

    check_frame(frame)
    chosen = frame[frame["dataset_name"].map(lambda name: without(name, key)) == dataset]
    return traces_apart(drawn, chosen, METRICS[metric].timed, objective_name=objective)


def _overheads(frame, dataset, objective, metric, baseline, key):
    sizes = {}
    for name in _datasets(frame, objective):
        size = re.search(r"\d+$", parameters(name).get(key, ""))
        if without(name, key) == dataset and size:
            sizes[int(size[0])] = last_by_solver(frame, name, objective, metric)
    ratios = {}
    for size, values in sorted(sizes.items()):
        plain = find_baseline(values, baseline)
        if plain is None:
            continue
        for solver, own in values.items():
            common = own.index.intersection(values[plain].index)
            positive = [seed for seed in common if own[seed] > 0 and values[plain][seed] > 0]
            if solver != plain and positive:
                ratios.setdefault(solver, {})[size] = own[positive] / values[plain][positive]
    names = short_solvers(list(ratios))
    traces = [median_curve(solver, names[solver], points) for solver, points in ratios.items()]
    if traces:
        across = [float(min(min(trace.x) for trace in traces)), float(max(max(trace.x) for trace in traces))]
        traces.append(Trace(None, f"{baseline}: 1", "line", across, [1.0, 1.0], 0))
    return traces


def overhead_menu(frame, key=BATCH_SIZE):
    """Map what a menu shows of data sets without their sizes to these names; those with several sizes first."""
    check_frame(frame)
    sizes = {}
    for name in frame["dataset_name"].unique():
        sizes.setdefault(without(name, key), set()).add(parameters(name).get(key))
    names = sorted(sizes, key=lambda name: (-len(sizes[name]), name))
    return options(pd.DataFrame({"dataset": names}), "dataset")


def task_of(objective):
    """Return the task of an objective; raise ValueError if it is unknown."""
    given = parameters(objective)
    BENCHMARK.check_objective(given)
    return given.get("task", "classification")


def _datasets(frame, objective):
    check_frame(frame)
    return list(frame.loc[frame["objective_name"] == objective, "dataset_name"].unique())


# ----- text -----


def ylabel(objective):
    """Return the label of the vertical axis of `robustness_traces`."""
    certified = BY_RADIUS[task_of(objective)][1].replace("_", " ").replace("auroc", "AUROC")
    return f"{certified} (higher is better)"


def headline(objective):
    """Return the metric of certified robustness at the headline radius, for the objective's task."""
    return f"{BY_RADIUS[task_of(objective)][1]}_{HEADLINE}"


def clean(objective):
    """Return the metric without any attack, for the objective's task."""
    return BY_RADIUS[task_of(objective)][0]
