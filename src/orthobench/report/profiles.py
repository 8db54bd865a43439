"""A metric at the last iteration over several data sets: one series a solver. What to draw, not how it looks."""

from collections import Counter

import numpy as np

from orthobench.report import stands
from orthobench.report.benchmarks import METRICS
from orthobench.report.cells import cells, check_frame
from orthobench.report.curves import Trace, traces_apart
from orthobench.report.leaderboard import format_failures, format_seeds
from orthobench.report.names import family, in_order, shape_class, short_names, size
from orthobench.report.page import safe
from orthobench.report.statistics import LEVEL, median_interval

_SPREAD = 0.5  # of the unit between two data sets: the room their solvers share


def traces_by_spectrum(frame, objective, metric):
    """Compare all data sets: the k-th of them, in the order of `in_order`, is at x = k.

    Solvers stand side by side around k. One trace without a symbol for each data set names it in the legend.

    Raises
    ------
    ValueError
        As for `cells`.
    """
    datasets = in_order(_datasets(frame, objective))
    traces = _traces(frame, dict(zip(datasets, range(1, len(datasets) + 1), strict=True)), objective, metric, _SPREAD)
    bottom = min((y for trace in traces for y in trace.y if y > 0), default=None)
    if bottom is None:
        return traces
    names = short_names(datasets)
    return traces + [
        Trace(None, f"{number}: {names[name]}", "line", [float(number)], [bottom], 0)
        for number, name in enumerate(datasets, start=1)
    ]


def numbered(traces):
    """Map the numbers of data sets, as text, to their names, from the traces that Benchopt's legend shows them by."""
    return dict(safe(trace.label).split(": ", 1) for trace in traces if trace.solver is None)


def traces_by_size(frame, objective, shape, metric="time_per_matrix_s"):
    """Return a metric against sqrt(rows columns), over the gaussian data sets of one shape ("square" or "1:4").

    Of times and memory, what ran in processes of several kinds is apart.

    Raises
    ------
    ValueError
        As for `cells`.
    """
    chosen = [name for name in _datasets(frame, objective) if family(name) == "gaussian" and shape_class(name) == shape]
    positions = {name: size(name) for name in chosen}

    def drawn(part):
        return _traces(part, positions, objective, metric)

    rows = frame[frame["dataset_name"].isin(chosen)]
    return traces_apart(drawn, rows, METRICS[metric].timed, objective_name=objective)


def protocol(traces):
    """Say in one line what the series show."""
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    told = (
        f"last iteration of each solver; median over seeds ({seeds}); bars: its {100 * LEVEL:.0f} % interval, the "
        "range below 6 seeds; crosses: failed cells"
    )
    return stands.noted(told, [trace.stand for trace in traces])


def _datasets(frame, objective):
    check_frame(frame)
    return list(frame.loc[frame["objective_name"] == objective, "dataset_name"].unique())


def _traces(frame, positions, objective, metric, spread=0.0):
    """Per solver: bars, the series of medians, and a cross for each data set where cells failed."""
    if f"objective_{metric}" not in frame:
        return []
    by_solver = {}
    for dataset in sorted(positions, key=positions.get):
        for cell in cells(frame, dataset, objective, metric):
            by_solver.setdefault(cell.solver, {}).setdefault(dataset, []).append(cell)

    traces, failed = [], []
    names = short_names(positions)
    for number, (solver, own) in enumerate(sorted(by_solver.items())):
        shift = spread * ((number + 0.5) / len(by_solver) - 0.5)
        x, y, counts = [], [], []
        for dataset, group in own.items():
            here = positions[dataset] + shift
            values = [cell.value[-1] for cell in group if cell.ok and np.isfinite(cell.value[-1])]
            if values:
                middle = median_interval(values)
                x, y, counts = [*x, here], [*y, middle.estimate], [*counts, len(values)]
                if len(values) > 1:
                    traces.append(Trace(solver, solver, "line", [here] * 2, [middle.low, middle.high], len(values)))
            statuses = Counter(cell.status for cell in group if not cell.ok)
            if statuses:
                label = f"{solver}: {format_failures(statuses)} of {len(group)} seeds on {names[dataset]}"
                failed.append((solver, label, here, y[-1] if values else None))
        # One series a solver, after its bars: the legend takes its symbol from the last trace of a label.
        if x:
            traces.append(Trace(solver, solver, "curve", x, y, min(counts)))
    top = max((y for trace in traces for y in trace.y if y > 0), default=1.0)
    return traces + [
        Trace(solver, label, "failed", [x], [top if y is None else y], 1) for solver, label, x, y in failed
    ]
