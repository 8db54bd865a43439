"""Figures of `benchmark_dp`: accuracy against epsilon and time, cost by size, gradients against bounds, epsilons."""

import json
import math

import numpy as np
import pandas as pd

from orthobench.report import stands
from orthobench.report.benchmarks import BENCHMARKS, radii
from orthobench.report.cells import cells, check_frame
from orthobench.report.curves import draw_cells, traces_apart
from orthobench.report.leaderboard import cells_by_solver, format_interval, format_number, format_seeds
from orthobench.report.medians import failed_cells, last_by_solver, median_curve, radius_traces
from orthobench.report.names import parameters, short_solvers, without
from orthobench.report.page import options, table
from orthobench.report.robustness import overhead_traces
from orthobench.report.statistics import LEVEL, interval, interval_told

EPSILON = "epsilon"
NOT_PRIVATE = math.inf

_BENCHMARK = BENCHMARKS["benchmark_dp"]

# By which cost is compared, and what its sizes are called.
RADII = radii(_BENCHMARK, "certified_accuracy")
SIZES = {"batch_size": "batch size", "network": "width of the last hidden layer"}
REFERENCE = "DP-SGD[way=ghost]"

EPSILON_COLUMNS = ("solver", "n", "claimed", "PLD", "PRV", "RDP", "audited, at least", "an audit's power, simulated")
_EPSILONS = ("epsilon_claimed", "epsilon_pld", "epsilon_prv", "epsilon_rdp", "epsilon_audit", "audit_power")

LAYER_COLUMNS = ("solver", "layer", "n", "bound", "largest", "largest / bound", "mean / bound")


def epsilon_menu(frame):
    """Map what a menu shows of objectives without their epsilon to these names."""
    check_frame(frame)
    names = dict.fromkeys(without(name, EPSILON) for name in frame["objective_name"].unique())
    return options(pd.DataFrame({"objective": list(names)}), "objective")


def epsilon_traces(frame, dataset, objective, metric="accuracy"):
    """Return a metric against epsilon: per solver the median over its good cells, with its interval as a band.

    Without privacy there is no epsilon to draw at: such a solver is a line across.

    Parameters
    ----------
    objective : str
        Without its epsilon, as `epsilon_menu` has it.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    check_frame(frame)
    found, everything, across = {}, {}, {}
    for name in frame.loc[frame["dataset_name"] == dataset, "objective_name"].unique():
        if without(name, EPSILON) != objective:
            continue
        at = _epsilon(name)
        for solver, values in last_by_solver(frame, dataset, name, metric).items():
            if len(values):
                (found if math.isfinite(at) else across).setdefault(solver, {})[at] = values
        for solver, own in cells_by_solver(frame, dataset, name, "value").items():
            everything.setdefault(solver, []).extend(own)
    names = short_solvers(list(everything))
    traces = [median_curve(solver, names[solver], dict(sorted(points.items()))) for solver, points in found.items()]
    ends = [end(trace.x) for trace in traces for end in (min, max)] or [1.0, 10.0]
    for solver, points in across.items():
        values = points[NOT_PRIVATE]
        at = {min(ends): values, max(ends): values}
        traces.append(median_curve(solver, f"{names[solver]}: not private", at))
    lowest = min((y for trace in traces for y in trace.y), default=0.0)
    return traces + failed_cells(everything, names, min(ends), lowest)


def time_traces(frame, dataset, objective, metric="accuracy"):
    """Return the curves of a metric against the time of the training steps; see `draw_cells`.

    Of the monitored value, if every cell failed before it had another figure.
    """

    def drawn(part):
        found = cells(part, dataset, objective, metric if f"objective_{metric}" in frame else "value")
        labels = short_solvers(list(dict.fromkeys(cell.solver for cell in found)))
        return draw_cells(found, [cell.time for cell in found], "linear", min, labels)

    return traces_apart(drawn, frame, True, dataset_name=dataset, objective_name=objective)


def certified_traces(frame, dataset, objective):
    """Return certified accuracy against radius, the accuracy at 0: medians over seeds with their intervals.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    metrics = {0: "accuracy"} | {radius: f"certified_accuracy_{radius}" for radius in RADII}
    return radius_traces(frame, dataset, objective, metrics)


def cost_traces(frame, dataset, objective, metric, along):
    """Return a cost over that of `REFERENCE` against a size, of data sets that are like one but for that size.

    Parameters
    ----------
    along : str
        A key of `SIZES`.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    return overhead_traces(frame, without(dataset, along), objective, metric, REFERENCE, along)


def epsilon_table(frame, dataset, objective):
    """Return the cells and the metadata of the table of `epsilon_rows`."""
    told = (
        "claimed: by the solver; PLD, PRV, RDP: computed from the transcript by three accountants, RDP the loosest; "
        f"audited: a lower bound from canaries, where the objective asks for it; {table_protocol()}"
    )
    return table([objective, dataset, told], EPSILON_COLUMNS, epsilon_rows(frame, dataset, objective))


def layer_table(frame, dataset, objective):
    """Return the cells and the metadata of the table of `layer_rows`."""
    told = (
        f"bound: what one example can add to a layer's gradient; largest, mean: what examples added; {table_protocol()}"
    )
    return table([objective, dataset, told], LAYER_COLUMNS, layer_rows(frame, dataset, objective))


def epsilon_rows(frame, dataset, objective):
    """Return by solver the claimed, the recomputed and the audited epsilon, as text, in the order of `EPSILON_COLUMNS`.

    Means over seeds, of all cells that have the figure: one that is refuted shows what refuted it.
    """
    rows = _last_rows(frame, dataset, objective)
    names = short_solvers(list(dict.fromkeys(rows["solver_name"])))
    found = []
    for solver, own in rows.groupby("solver_name", sort=False):
        figures = [_mean(own, name) for name in _EPSILONS]
        found.append([names[solver], str(own["idx_rep"].nunique()), *figures])
    return found


def layer_rows(frame, dataset, objective):
    """Return by solver and parameter what examples added to the gradient, against the bound, as text.

    Of the sum of the examples' gradients: means over seeds, in the order of `LAYER_COLUMNS`.
    """
    rows = _last_rows(frame, dataset, objective)
    names, by_layer = short_solvers(list(dict.fromkeys(rows["solver_name"]))), {}
    for solver, text in zip(rows["solver_name"], rows.get("objective_layers", pd.Series("", rows.index)), strict=True):
        for layer in _listed(text):
            by_layer.setdefault((solver, layer["name"]), []).append(layer)
    found = []
    for (solver, name), own in by_layer.items():
        bounds, largest, mean = (np.array([each[key] for each in own]) for key in ("bound", "largest", "mean"))
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = [np.nanmean(values / bounds) if (bounds > 0).any() else math.nan for values in (largest, mean)]
        figures = [bounds.mean(), largest.mean(), *shares]
        found.append([names[solver], name, str(len(own)), *map(_number, figures)])
    return found


def _last_rows(frame, dataset, objective):
    check_frame(frame)
    rows = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    return rows.sort_values("stop_val", kind="stable").groupby(["solver_name", "idx_rep"], sort=False).tail(1)


def _mean(rows, name):
    if f"objective_{name}" not in rows:
        return "n/a"
    values = pd.to_numeric(rows[f"objective_{name}"], errors="coerce").dropna().to_numpy(dtype=float)
    if not len(values):
        return "n/a"
    if len(values) == 1 or not np.isfinite(values).all() or np.ptp(values) == 0:
        return _number(values.mean())
    estimate = interval(values, within=_BENCHMARK.range_of(name))
    return f"{format_number(estimate.estimate)} {format_interval(estimate.low, estimate.high)}"


def _number(value):
    return format_number(value) if math.isfinite(value) else ("inf" if value > 0 else "n/a")


def _listed(text):
    try:
        layers = json.loads(text) if isinstance(text, str) and text else []
    except ValueError:
        return []
    keys = {"name", "bound", "largest", "mean"}
    return [each for each in layers if isinstance(each, dict) and keys <= set(each)] if isinstance(layers, list) else []


def _epsilon(objective):
    try:
        return float(parameters(objective).get(EPSILON, "inf"))
    except ValueError:
        return NOT_PRIVATE


# ----- text -----


def protocol(traces, shown):
    """Say in one line what a figure shows, after what is its own."""
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    told = (
        f"{shown}; median over seeds ({seeds}); bands: its {100 * LEVEL:.0f} % interval, the range below 6 seeds; "
        "crosses: failed cells; tuning is not charged"
    )
    return stands.noted(told, [trace.stand for trace in traces])


def table_protocol():
    """Say in one line what the tables show."""
    return f"means over seeds, {interval_told(many=True)}; refuted cells count: their figures refute them"
