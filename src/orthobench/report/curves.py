"""Curves of a metric, such as the error against method time or work: what to draw, without how it looks."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from orthobench.report import stands
from orthobench.report.benchmarks import METRICS
from orthobench.report.cells import cells
from orthobench.report.leaderboard import format_seeds
from orthobench.report.statistics import LEVEL, median_interval

# What a curve can run along.
AGAINST = {"time": "method time (s)", "flops": "floating-point operations a matrix"}


@dataclass(frozen=True)
class Trace:
    """One line of a figure. ``kind`` is "curve", "line" (an error bar, the way to a failure), "dashed" or "failed"."""

    solver: str | None  # whose colour it has; None for what belongs to no solver
    label: str
    kind: str
    x: list
    y: list
    n: int  # cells behind it
    y_low: list | None = None
    y_high: list | None = None
    stand: str = ""  # the kind of process that it is of, where times or memory of several are shown


def traces_apart(make, frame, timed, **where):
    """Return the traces that a function makes of a frame; where they show times or memory, of each kind of stand.

    Parameters
    ----------
    make : callable
        Of a frame.
    frame, timed, **where
        As for `stands.apart`.
    """
    return [
        replace(trace, label=stands.marked(trace.label, kind if trace.solver else ""), stand=kind)
        for kind, part in stands.apart(frame, timed, **where).items()
        for trace in make(part)
    ]


def error_traces(frame, dataset, objective, metric="relative_error", against="time"):
    """Return the traces of a metric against cumulative method time, or against floating-point operations.

    See `draw_cells`. A solver without figures along the axis (a factorisation has no count of operations) has no curve.
    Along time, what ran in processes of several kinds is apart.

    Parameters
    ----------
    against : str
        A key of `AGAINST`.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    if against != "time" and f"objective_{against}" not in frame:
        return []

    def drawn(part):
        found = cells(part, dataset, objective, metric)
        if against == "time":
            along = [cell.time for cell in found]
        else:
            along = [cell.value for cell in cells(part, dataset, objective, against)]
        return draw_cells(found, along)

    timed = against == "time" or METRICS[metric].timed
    return traces_apart(drawn, frame, timed, dataset_name=dataset, objective_name=objective)


def draw_cells(found, along, scale="loglog", worst=max, labels=None):
    """Return the traces of cells.

    Per solver: the median over its good cells at each step, with the interval of `median_interval` as a band, and at
    the last point one error bar for each axis. A cell that ends before the others keeps its last point, so that n is
    the same all along a curve. Each failed cell is a line of its own, up to where it failed. One that failed before it
    had a value is at the worst one of the figure, and its label says so.

    Parameters
    ----------
    found : list of Cell
    along : list of numpy.ndarray
        The horizontal coordinates of each cell's points.
    scale : str
        "loglog", "semilog-y" or "linear": a logarithmic axis shows nothing that is not positive.
    worst : callable
        `max`, or `min` where higher is better.
    labels : dict, optional
        How to call solvers; by their names unless given.
    """
    by_solver = {}
    for cell, x in zip(found, along, strict=True):
        by_solver.setdefault(cell.solver, []).append((cell, x))

    traces = []
    for solver, own in by_solver.items():
        good = [(cell, x) for cell, x in own if cell.ok and np.isfinite(cell.value).any()]
        traces += _curve(solver, good, (labels or {}).get(solver, solver)) if good else []

    can_show_x, can_show_y = _shown_by(scale == "loglog"), _shown_by(scale != "linear")
    left = min((x for each in along for x in each[can_show_x(each)]), default=1.0)
    edge = worst((v for cell in found for v in cell.value[can_show_y(cell.value)]), default=1.0)
    place = float(edge), "top" if worst is max else "bottom"
    for solver, own in by_solver.items():
        traces += _failures(own, (labels or {}).get(solver, solver), float(left), place, can_show_x, can_show_y)
    return traces


def _shown_by(logarithmic):
    """Return the function that says which values such an axis can show."""
    return lambda values: np.isfinite(values) & ((values > 0) if logarithmic else True)


def _curve(solver, good, label):
    """Return the error bars, then the curve: the legend takes its symbol from the last trace of a label."""
    along, value = (
        pd.DataFrame({cell.seed: pd.Series(figures, index=cell.stop_val) for cell, figures in pairs})
        .sort_index()
        .ffill()
        for pairs in (good, [(cell, cell.value) for cell, _ in good])
    )
    reached = along.notna().all(axis=1) & value.notna().all(axis=1)
    if not reached.any():
        return []
    x = [median_interval(row) for row in along[reached].to_numpy()]
    y = [median_interval(row) for row in value[reached].to_numpy()]
    across, up = [point.estimate for point in x], [point.estimate for point in y]
    n = len(good)
    if n == 1:  # nothing to estimate a spread from
        return [Trace(solver, label, "curve", across, up, 1)]
    return [
        Trace(solver, label, "line", [across[-1]] * 2, [y[-1].low, y[-1].high], n),
        Trace(solver, label, "line", [x[-1].low, x[-1].high], [up[-1]] * 2, n),
        Trace(solver, label, "curve", across, up, n, [point.low for point in y], [point.high for point in y]),
    ]


def _failures(own, name, left, place, can_show_x, can_show_y):
    """Return the line and the cross of each failed cell; a solver's failures of one kind share a legend entry."""
    traces = []
    for cell, along in own:
        if cell.ok:
            continue
        shown = can_show_x(along) & can_show_y(cell.value)
        x, y = along[shown].tolist(), cell.value[shown].tolist()
        end = float(along[-1]) if can_show_x(along[-1]) else x[-1] if x else left
        if y and not shown[-1]:  # the failure itself, at the last value that was reached
            x, y = [*x, end], [*y, y[-1]]
        count = sum(other.status == cell.status for other, _ in own)
        label = f"{name}: {cell.status.replace('_', ' ')}, {count} of {len(own)} seeds"
        if not y:
            edge, side = place
            x, y, label = [end], [edge], f"{label} (no value: drawn at the {side})"
        traces.append(Trace(cell.solver, label, "line", x, y, 1))
        traces.append(Trace(cell.solver, label, "failed", x[-1:], y[-1:], 1))
    return traces


def protocol(traces, against="time"):
    """Say in one line what the curves show."""
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    left_out = "" if against == "time" else "; solvers without a count (factorisations) are left out"
    told = (
        f"median over seeds ({seeds}); band and bars: its {100 * LEVEL:.0f} % interval, the range below 6 seeds; "
        f"crosses: failed cells{left_out}; point k of an iteration: its first k polynomials (triples=last: its last k)"
    )
    return stands.noted(told, [trace.stand for trace in traces])
