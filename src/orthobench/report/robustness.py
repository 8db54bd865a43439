"""Figures of `benchmark_lipschitz`: certified accuracy against radius, loss and cost, and overhead by batch size."""

import re
from dataclasses import replace

import pandas as pd

from orthobench.report import stands
from orthobench.report.benchmarks import BENCHMARKS, METRICS, radii
from orthobench.report.cells import check_frame
from orthobench.report.curves import Trace, traces_apart
from orthobench.report.leaderboard import cells_by_solver, find_baseline, format_failures, format_seeds, last_values
from orthobench.report.names import parameters, short_solvers, without
from orthobench.report.page import options
from orthobench.report.statistics import LEVEL, median_interval

RADII = radii(BENCHMARKS["benchmark_lipschitz"], "certified_accuracy")
HEADLINE = RADII[0]

# By the objective's task: the metric at radius 0, and what the metric at another begins with.
BY_RADIUS = {
    "classification": ("accuracy", "certified_accuracy"),
    "one_class": ("certified_auroc_0", "certified_auroc"),
}
COSTS = ("step_time_ms", "inference_time_ms", "peak_memory_bytes", "parameters")
LOSS_OPTIONS = ("alpha", "margin", "temperature")
BATCH_SIZE = "batch_size"
UNCONSTRAINED = "Plain"

# Symbols of traces that are no curves: a star.
MARKS = {"attacked": 17}


def robustness_traces(frame, dataset, objective):
    """Return certified accuracy (one class: certified AUROC) against radius, and the attacked accuracy at 36/255.

    Per solver: the median over its good cells at each radius, the clean figure at 0, with the interval of
    `median_interval` as a band; above it a star, the accuracy under attack. A solver with failed cells has a cross.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    clean, certified = BY_RADIUS[_task(objective)]
    columns = {0: clean} | {radius: f"{certified}_{radius}" for radius in RADII}
    by_radius = {radius: last_by_solver(frame, dataset, objective, metric) for radius, metric in columns.items()}
    attacked = last_by_solver(frame, dataset, objective, "attacked_accuracy")
    found = cells_by_solver(frame, dataset, objective, "value")
    names = short_solvers(list(found))
    traces = []
    for solver in found:
        points = {radius: values[solver] for radius, values in by_radius.items() if len(values.get(solver, ()))}
        if points:
            traces.append(median_curve(solver, names[solver], points))
        if len(attacked.get(solver, ())):
            middle = median_interval(attacked[solver])
            label = f"{names[solver]}: attacked"
            if middle.n > 1:
                traces.append(Trace(solver, label, "line", [HEADLINE] * 2, [middle.low, middle.high], middle.n))
            traces.append(Trace(solver, label, "attacked", [HEADLINE], [middle.estimate], middle.n))
    return traces + failed_cells(found, names, 0.0, 0.0)


def point_traces(frame, dataset, objective, x, y, joined=False):
    """Return one point a solver: the medians of two metrics over its good cells, with an error bar for each.

    Where one is a time or memory, what ran in processes of several kinds is apart.

    Parameters
    ----------
    x, y : str
        Metrics.
    joined : bool
        Whether solvers that differ in `LOSS_OPTIONS` alone are joined by a line, in the order of `x`.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """

    def drawn(part):
        return _points(part, dataset, objective, x, y, joined)

    timed = METRICS[x].timed or METRICS[y].timed
    return traces_apart(drawn, frame, timed, dataset_name=dataset, objective_name=objective)


def _points(frame, dataset, objective, x, y, joined):
    along, up = (last_by_solver(frame, dataset, objective, metric) for metric in (x, y))
    found = cells_by_solver(frame, dataset, objective, "value")
    names = short_solvers(list(found))
    traces, groups = [], {}
    for solver in found:
        if not (len(along.get(solver, ())) and len(up.get(solver, ()))):
            continue
        across, middle = median_interval(along[solver]), median_interval(up[solver])
        at = across.estimate, middle.estimate
        if middle.n > 1:
            traces.append(Trace(solver, names[solver], "line", [at[0]] * 2, [middle.low, middle.high], middle.n))
            traces.append(Trace(solver, names[solver], "line", [across.low, across.high], [at[1]] * 2, middle.n))
        traces.append(Trace(solver, names[solver], "curve", [at[0]], [at[1]], middle.n))
        groups.setdefault(_without_options(solver), []).append((*at, solver))
    lines = [_join(group) for group in groups.values() if joined and len(group) > 1]
    shown = [trace for trace in traces if trace.kind == "curve"]
    left = min((trace.x[0] for trace in shown), default=1.0)
    bottom = min((trace.y[0] for trace in shown), default=0.0)
    return lines + traces + failed_cells(found, names, left, bottom)


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


def _task(objective):
    task = parameters(objective).get("task", "classification")
    return task if task in BY_RADIUS else "classification"


def _datasets(frame, objective):
    check_frame(frame)
    return list(frame.loc[frame["objective_name"] == objective, "dataset_name"].unique())


def last_by_solver(frame, dataset, objective, metric):
    """Map each solver to the last values of its good cells; none where the rows lack the metric."""
    if f"objective_{metric}" not in frame:
        return {}
    return last_values(cells_by_solver(frame, dataset, objective, metric))


def median_curve(solver, label, points):
    """Return the curve through the medians of values by x, with their intervals as a band."""
    middles = [median_interval(values) for values in points.values()]
    curve = Trace(solver, label, "curve", list(map(float, points)), [each.estimate for each in middles], middles[0].n)
    if any(each.n == 1 for each in middles):  # nothing to estimate a spread from
        return curve
    return replace(curve, y_low=[each.low for each in middles], y_high=[each.high for each in middles])


def failed_cells(found, names, left, bottom):
    """Return a cross for each solver with failed cells, in the corner of the figure: they have no figures."""
    traces = []
    for solver, own in found.items():
        failed = [cell.status for cell in own if not cell.ok]
        if failed:
            counts = {status: failed.count(status) for status in failed}
            label = f"{names[solver]}: {format_failures(counts)} of {len(own)} seeds (drawn in the corner)"
            traces.append(Trace(solver, label, "failed", [float(left)], [float(bottom)], len(failed)))
    return traces


def _without_options(solver):
    for option in LOSS_OPTIONS:
        solver = without(solver, option)
    return solver


def _join(group):
    x, y, solvers = zip(*sorted(group), strict=True)
    return Trace(solvers[0], f"{_without_options(solvers[0])}: as the loss varies", "line", list(x), list(y), 0)


# ----- text -----


def ylabel(objective):
    """Return the label of the vertical axis of `robustness_traces`."""
    certified = BY_RADIUS[_task(objective)][1].replace("_", " ").replace("auroc", "AUROC")
    return f"{certified} (higher is better)"


def headline(objective):
    """Return the metric of certified robustness at the headline radius, for the objective's task."""
    return f"{BY_RADIUS[_task(objective)][1]}_{HEADLINE}"


def clean(objective):
    """Return the metric without any attack, for the objective's task."""
    return BY_RADIUS[_task(objective)][0]


def protocol(traces, shown):
    """Say in one line what a figure shows, after what is its own."""
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    told = (
        f"{shown}; median over seeds ({seeds}); bands and bars: its {100 * LEVEL:.0f} % interval, the range below 6 "
        "seeds; crosses: failed cells"
    )
    return stands.noted(told, [trace.stand for trace in traces])
