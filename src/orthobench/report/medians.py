"""Figures whose points are medians over seeds: against radius, and of one metric against another."""

from dataclasses import replace

from orthobench.report import stands
from orthobench.report.benchmarks import METRICS
from orthobench.report.curves import Trace, traces_apart
from orthobench.report.leaderboard import cells_by_solver, format_failures, format_number, format_seeds, last_values
from orthobench.report.names import short_solvers, without
from orthobench.report.statistics import LEVEL, median_interval

LOSS_OPTIONS = ("alpha", "margin", "temperature")

# Symbols of traces that are no curves: a star.
MARKS = {"attacked": 17}


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


def radius_traces(frame, dataset, objective, metrics, attacked_at=None, attacked="", gap=""):
    """Return what is certified against radius, and above it what is left under attack.

    Per solver: the median over its good cells at each radius, with the interval of `median_interval` as a band; above
    it a star, the median under attack, with a bar. A solver with failed cells has a cross.

    Parameters
    ----------
    metrics : dict
        The metric at each radius, ascending.
    attacked_at : float
        The radius of the attack.
    attacked : str
        The metric under attack; none if empty.
    gap : str
        The metric of how far that is above what is certified, which the star's label says; none if empty.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    by_radius = {radius: last_by_solver(frame, dataset, objective, metric) for radius, metric in metrics.items()}
    stars, gaps = (last_by_solver(frame, dataset, objective, metric) for metric in (attacked, gap))
    found = cells_by_solver(frame, dataset, objective, "value")
    names = short_solvers(list(found))
    traces = []
    for solver in found:
        points = {radius: values[solver] for radius, values in by_radius.items() if len(values.get(solver, ()))}
        if points:
            traces.append(median_curve(solver, names[solver], points))
        if len(stars.get(solver, ())):
            middle = median_interval(stars[solver])
            label = f"{names[solver]}: attacked"
            if len(gaps.get(solver, ())):
                label += f", {format_number(median_interval(gaps[solver]).estimate)} above what is certified"
            if middle.n > 1:
                traces.append(Trace(solver, label, "line", [attacked_at] * 2, [middle.low, middle.high], middle.n))
            traces.append(Trace(solver, label, "attacked", [attacked_at], [middle.estimate], middle.n))
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


def _without_options(solver):
    for option in LOSS_OPTIONS:
        solver = without(solver, option)
    return solver


def _join(group):
    x, y, solvers = zip(*sorted(group), strict=True)
    return Trace(solvers[0], f"{_without_options(solvers[0])}: as the loss varies", "line", list(x), list(y), 0)


# ----- text -----


def protocol(traces, shown):
    """Say in one line what a figure shows, after what is its own."""
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    told = (
        f"{shown}; median over seeds ({seeds}); bands and bars: its {100 * LEVEL:.0f} % interval, the range below 6 "
        "seeds; crosses: failed cells"
    )
    return stands.noted(told, [trace.stand for trace in traces])
