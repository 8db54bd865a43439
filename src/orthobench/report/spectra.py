"""Singular values before and after a method: what to draw, without how it looks."""

import numpy as np
import pandas as pd

from orthobench.report.curves import Trace
from orthobench.report.leaderboard import format_number, format_seeds
from orthobench.report.matrices import last_matrices
from orthobench.report.names import parameters
from orthobench.report.statistics import LEVEL, median_interval

BINS = 24  # of equal width on a logarithmic axis


def spectrum_traces(frame, dataset, objective):
    """Return the singular values out against those in, at the last iteration of each solver's good cells.

    The values of all matrices are binned by sigma_in / sigma_1. A seed counts once in a bin, with the median of its
    values there, for values of one matrix are not independent; the series is the median over seeds, with the interval
    of `median_interval`. Bins that a single seed of several reached are left out. The ideal of U S^e V^T is the line
    (sigma_in / sigma_1)^e; unless e = 0, a matrix's values out are divided by that of its largest value in, for rows
    do not tell sigma_1.

    Raises
    ------
    ValueError
        If the frame is not a result of this suite.
    """
    exponent = ideal_exponent(objective)
    points = {}
    for solver, seed, matrices in last_matrices(frame, dataset, objective):
        pairs = np.concatenate([_pairs(matrix, exponent) for matrix in matrices])
        if len(pairs):
            points.setdefault(solver, []).append(pd.DataFrame(pairs, columns=["x", "y"]).assign(seed=seed))
    if not points:
        return []

    every = np.concatenate([seed["x"] for own in points.values() for seed in own])
    low, high = float(every.min()), float(every.max())
    edges = np.geomspace(low, high, BINS + 1)[1:-1]
    ideal = Trace(
        None, f"ideal: exponent {format_number(exponent)}", "line", [low, high], [low**exponent, high**exponent], 0
    )
    return [*(trace for solver, own in sorted(points.items()) for trace in _series(solver, own, edges)), ideal]


def _pairs(matrix, exponent):
    """Return one row a singular value that a logarithmic axis can show: value in, value out."""
    x, y = matrix.sigma_in, matrix.sigma_out
    if exponent and len(y):
        y = y / y[0] if y[0] > 0 else np.full_like(y, np.nan)
    return np.column_stack([x, y])[(x > 0) & np.isfinite(y)]


def _series(solver, own, edges):
    table = pd.concat(own)
    table["bin"] = np.searchsorted(edges, table["x"])
    x, y, counts = [], [], []
    for _, values in table.groupby("bin"):
        medians = values.groupby("seed")["y"].median()
        if len(medians) >= min(2, len(own)):
            x.append(float(values["x"].median()))
            y.append(median_interval(medians))
            counts.append(len(medians))
    if not x:
        return []
    middle = [point.estimate for point in y]
    if len(own) == 1:
        return [Trace(solver, solver, "curve", x, middle, 1)]
    return [
        Trace(solver, solver, "curve", x, middle, min(counts), [p.low for p in y], [p.high for p in y]),
    ]


def ideal_exponent(objective):
    """Return the e of U S^e V^T in an objective's name; 0, the polar factor, if it has none."""
    try:
        return float(parameters(objective)["exponent"])
    except (KeyError, ValueError):
        return 0.0


def out_label(objective):
    """Say what the values out are."""
    return f"singular value out{', divided by that of the largest' if ideal_exponent(objective) else ''}"


def protocol(traces):
    """Say in one line what the series show."""
    if not traces:
        return "no row of this data set says what became of each singular value"
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    return (
        f"u' X v at the last iteration, all matrices of the data set, in {BINS} bins; median over seeds of their "
        f"medians ({seeds} at least in each bin); band: its {100 * LEVEL:.0f} % interval, the range below 6 seeds"
    )
