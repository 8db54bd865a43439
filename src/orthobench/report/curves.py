"""The curves of error against method time: what to draw, without how it looks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from orthobench.report.cells import cells
from orthobench.report.leaderboard import format_seeds
from orthobench.report.statistics import LEVEL, median_interval


@dataclass(frozen=True)
class Trace:
    """One line of the figure. ``kind`` is "curve", "line" (an error bar, or the way to a failure) or "failed"."""

    solver: str
    label: str
    kind: str
    x: list
    y: list
    n: int  # cells behind it
    y_low: list | None = None
    y_high: list | None = None


def error_traces(frame, dataset, objective, metric="relative_error"):
    """Return the traces of a metric against cumulative method time.

    Per solver: the median over its good cells at each step, with the interval of `median_interval` as a band, and at
    the last point one error bar for the metric and one for the time. A cell that ends before the others keeps its last
    point, so that n is the same all along a curve. Each failed cell is a line of its own, up to where it failed. One
    that failed before it had a value is at the top, and its label says so.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    by_solver = {}
    for cell in cells(frame, dataset, objective, metric):
        by_solver.setdefault(cell.solver, []).append(cell)

    traces = []
    for solver, own in by_solver.items():
        good = [cell for cell in own if cell.ok and np.isfinite(cell.value).any()]
        traces += _curve(solver, good) if good else []

    drawn = [(cell.time, cell.value) for own in by_solver.values() for cell in own]
    left = min((t for time, _ in drawn for t in time if np.isfinite(t) and t > 0), default=1.0)
    top = max((v for _, value in drawn for v in value if np.isfinite(v) and v > 0), default=1.0)
    for own in by_solver.values():
        traces += _failures(own, left, top)
    return traces


def _curve(solver, good):
    """Return the error bars, then the curve: the legend takes its symbol from the last trace of a label."""
    time, value = (
        pd.DataFrame({cell.seed: pd.Series(getattr(cell, name), index=cell.stop_val) for cell in good})
        .sort_index()
        .ffill()
        for name in ("time", "value")
    )
    reached = time.notna().all(axis=1) & value.notna().all(axis=1)
    if not reached.any():
        return []
    x = [median_interval(row) for row in time[reached].to_numpy()]
    y = [median_interval(row) for row in value[reached].to_numpy()]
    across, along = [point.estimate for point in x], [point.estimate for point in y]
    n = len(good)
    if n == 1:  # nothing to estimate a spread from
        return [Trace(solver, solver, "curve", across, along, 1)]
    return [
        Trace(solver, solver, "line", [across[-1]] * 2, [y[-1].low, y[-1].high], n),
        Trace(solver, solver, "line", [x[-1].low, x[-1].high], [along[-1]] * 2, n),
        Trace(solver, solver, "curve", across, along, n, [point.low for point in y], [point.high for point in y]),
    ]


def _failures(own, left, top):
    """Return the line and the cross of each failed cell; a solver's failures of one kind share a legend entry."""
    traces = []
    for cell in own:
        if cell.ok:
            continue
        shown = (cell.time > 0) & (cell.value > 0)  # what a logarithmic axis can show; False for NaN
        x, y = cell.time[shown].tolist(), cell.value[shown].tolist()
        end = float(cell.time[-1]) if cell.time[-1] > 0 else left
        if y and not shown[-1]:  # the failure itself, at the last error that was reached
            x, y = [*x, end], [*y, y[-1]]
        count = sum(other.status == cell.status for other in own)
        label = f"{cell.solver}: {cell.status.replace('_', ' ')}, {count} of {len(own)} seeds"
        if not y:
            x, y, label = [end], [float(top)], f"{label} (no value: drawn at the top)"
        traces.append(Trace(cell.solver, label, "line", x, y, 1))
        traces.append(Trace(cell.solver, label, "failed", x[-1:], y[-1:], 1))
    return traces


def protocol(traces):
    """Say in one line what the curves show."""
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    return (
        f"median over seeds ({seeds}); band and bars: its {100 * LEVEL:.0f} % interval, the range below 6 seeds; "
        "crosses: failed cells"
    )
