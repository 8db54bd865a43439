"""Figures of `benchmark_rcp`: size against radius, coverage against its target, certified coverage, verdicts."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orthobench.report.cells import check_frame
from orthobench.report.curves import Trace
from orthobench.report.leaderboard import format_number, format_seeds
from orthobench.report.names import short_solvers, without
from orthobench.report.page import options, table
from orthobench.report.statistics import LEVEL, holm, median_interval

RADIUS = "radius"
COSTS = ("forward_passes", "prediction_time_s", "calibration_time_s", "peak_memory_bytes")
REFUTED_BELOW = 1e-3

# Symbols of traces that are no curves: a star, and an open circle.
MARKS = {"attacked": 17, "clean": 0}


@dataclass(frozen=True)
class CoverageVerdict:
    """One test of a claim: that of one cell, on clean inputs, under attack or under random noise."""

    dataset: str
    objective: str
    solver: str
    seed: int
    change: str
    coverage: float
    p: float
    adjusted: float  # Holm's, over the file

    @property
    def refuted(self):
        """Whether coverage is lower than chance allows."""
        return self.adjusted < REFUTED_BELOW


def coverage_verdicts(frame):
    """Return a `CoverageVerdict` for each claim that the rows of a file test, most doubtful first.

    What a method doesn't claim isn't judged, nor what its row has no test of.
    """
    check_frame(frame)
    found = []
    for change, suffix in (("clean", ""), ("attacked", "_attacked"), ("random noise", "_noise")):
        if f"objective_judged{suffix}" not in frame:
            continue
        judged = frame[frame[f"objective_judged{suffix}"].eq(True) & frame[f"objective_p_value{suffix}"].notna()]
        columns = judged[f"objective_coverage{suffix}"], judged[f"objective_p_value{suffix}"]
        names = judged[["dataset_name", "objective_name", "solver_name", "idx_rep"]].itertuples(index=False)
        found += [(*name, change, *map(float, each)) for name, *each in zip(names, *columns, strict=True)]
    return adjusted(CoverageVerdict, found)


def adjusted(verdict, found):
    """Return verdicts, most doubtful first, of tests whose last entry is their p-value: Holm-adjusted over all."""
    p_values = holm([each[-1] for each in found]) if found else []
    verdicts = [verdict(*each, float(p)) for each, p in zip(found, p_values, strict=True)]
    return sorted(verdicts, key=lambda each: each.p)


def verdicts_table(frame):
    """Return the verdicts as a table of the page: title, columns and rows."""
    verdicts = coverage_verdicts(frame)
    names = short_solvers(sorted({each.solver for each in verdicts}))
    refuted = sum(each.refuted for each in verdicts)
    untested = sum(
        int(frame[column].fillna("").ne("").sum()) for column in frame if column.startswith("objective_untested")
    )
    title = [
        f"{len(verdicts)} claims of coverage tested, {refuted} refuted{f', {untested} untested' if untested else ''}",
        f"one-sided p of so low a coverage at the nominal level, Holm-adjusted over the file; refuted below "
        f"{REFUTED_BELOW:g}; under attack coverage is an upper bound of that in the worst case",
    ]
    rows = [
        [
            each.dataset, each.objective, names[each.solver], str(each.seed), each.change, f"{each.coverage:.4f}",
            format_number(each.p), format_number(each.adjusted), "refuted" if each.refuted else "stands",
        ]
        for each in verdicts
    ]  # fmt: skip
    columns = ["data set", "objective", "solver", "seed", "inputs", "coverage", "p", "adjusted p", "claim"]
    return table(title, columns, rows)


def guaranteed(frame):
    """Return the rows of methods whose guarantee for the attack stands, and failed rows, which have none."""
    check_frame(frame)
    if "objective_guaranteed" not in frame:
        return frame
    return frame[frame["objective_guaranteed"].eq(True) | (frame["objective_status"] != "ok")]


def radius_menu(frame):
    """Map what a menu shows of data sets without their radius to these names."""
    check_frame(frame)
    names = sorted({without(name, RADIUS) for name in frame["dataset_name"]})
    return options(pd.DataFrame({"dataset": names}), "dataset")


def size_traces(frame, dataset, objective):
    """Return the mean size of clean sets against the radius: the median over seeds with its interval, by solver.

    Parameters
    ----------
    dataset : str
        A data set's name without its radius, as `radius_menu` has it. Only methods whose guarantee stands are shown.
    """
    rows = _good(guaranteed(frame), objective)
    rows = rows[rows["dataset_name"].map(lambda name: without(name, RADIUS)) == dataset]
    names = short_solvers(sorted(rows["solver_name"].unique()))
    traces = []
    for solver, own in rows.groupby("solver_name"):
        own = own.dropna(subset="objective_set_size")
        if own.empty:
            continue
        by_radius = {radius: each["objective_set_size"] for radius, each in own.groupby("objective_radius")}
        middles = [median_interval(values) for values in by_radius.values()]
        x, y = [float(radius) for radius in by_radius], [each.estimate for each in middles]
        bands = {}
        if all(each.n > 1 for each in middles):
            bands = {"y_low": [each.low for each in middles], "y_high": [each.high for each in middles]}
        traces.append(Trace(solver, names[solver], "curve", x, y, middles[0].n, **bands))
    return traces


def coverage_traces(frame, dataset, objective):
    """Return coverage against size, clean and attacked, by solver, with the target and the band of chance.

    A line joins a circle, clean, with a star, under attack: medians over seeds. Every solver is shown, whether it
    claims anything or not.
    """
    rows = _good(frame, objective)
    rows = rows[rows["dataset_name"] == dataset]
    names = short_solvers(sorted(rows["solver_name"].unique()))
    traces, sizes = [], []
    for solver, own in rows.groupby("solver_name"):
        points = {}
        for kind, suffix in (("clean", ""), ("attacked", "_attacked")):
            values = own[[f"objective_set_size{suffix}", f"objective_coverage{suffix}"]].dropna()
            if len(values):
                points[kind] = tuple(float(each) for each in values.median())
        if len(points) > 1:
            x, y = zip(*points.values(), strict=True)
            traces.append(Trace(solver, names[solver], "line", list(x), list(y), len(own)))
        for kind, (x, y) in points.items():
            traces.append(Trace(solver, names[solver], kind, [x], [y], len(own)))  # the symbol says which
            sizes.append(x)
    return _target(rows, sizes) + traces


def certified_traces(frame, dataset, objective):
    """Return certified lower and upper coverage of vanilla sets against the radius, with clean and attacked coverage.

    Curves are means over splits and seeds; each bound holds for all radii at once, but with the probability that the
    benchmark says.
    """
    rows = _good(frame, objective)
    rows = rows[rows["dataset_name"] == dataset]
    if "objective_coverage_curve" not in rows:
        return []
    rows = rows[rows["objective_coverage_curve"].fillna("") != ""]
    names = short_solvers(sorted(rows["solver_name"].unique()))
    traces = []
    for solver, own in rows.groupby("solver_name"):
        curves = np.array([json.loads(text) for text in own["objective_coverage_curve"]])
        radii, lower, upper = curves.mean(0).T.tolist()
        traces.append(Trace(solver, f"{names[solver]}: lower bound", "curve", radii, lower, len(own)))
        traces.append(Trace(solver, f"{names[solver]}: upper bound", "line", radii, upper, len(own)))
        for kind, suffix, x in (("clean", "", 0.0), ("attacked", "_attacked", float(own["objective_radius"].iloc[0]))):
            coverage = own[f"objective_coverage{suffix}"].dropna()
            if len(coverage):
                y = float(coverage.median())
                traces.append(Trace(solver, f"{names[solver]}: {kind}", kind, [x], [y], len(own)))
    return traces


def protocol(traces, shown):
    """Say in one line what a figure shows, after what is its own."""
    seeds = format_seeds(trace.n for trace in traces if trace.solver is not None)
    return f"{shown}; median over seeds ({seeds}); bands: its {100 * LEVEL:.0f} % interval, the range below 6 seeds"


def _good(frame, objective):
    check_frame(frame)
    rows = frame[(frame["objective_name"] == objective) & (frame["objective_status"] == "ok")]
    return rows.replace([np.inf, -np.inf], np.nan)


def _target(rows, sizes):
    """Return lines at the claimed coverage and at the band that chance leaves to an exact method."""
    if not sizes:
        return []
    across = [float(min(sizes)), float(max(sizes))]
    low, high = (float(rows[f"objective_coverage_band_{side}"].median()) for side in ("low", "high"))
    middle = 1 - float(rows["objective_claimed_alpha"].median())
    lines = {"target": middle, "band of chance, low": low, "band of chance, high": high}
    return [Trace(None, f"{name}: {y:.3f}", "line", across, [y, y], 0) for name, y in lines.items()]
