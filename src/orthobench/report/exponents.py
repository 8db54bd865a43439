"""Exponents by layer: the e of U S^e V^T that a method chose, against training steps."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from orthobench.report.cells import cells, check_frame
from orthobench.report.curves import Trace, draw_cells
from orthobench.report.leaderboard import format_failures, format_seeds
from orthobench.report.names import parameters
from orthobench.report.page import options, shorten
from orthobench.report.statistics import LEVEL

COLUMN = "objective_exponents"
REFERENCES = {"SGD: 1": 1.0, "Muon: 0": 0.0}
NOBODY = "none"  # the menu's only entry where no solver has exponents

# By depth, from dark to light; all stand out from a light and from a dark page.
_COLOURS = LinearSegmentedColormap.from_list("depth", ("#2a5fd0", "#a04cb8", "#e06c78"))


def solver_menu(frame):
    """Map the safe names of the solvers with exponents, for a menu, to the names; ``{"none": ""}`` without one.

    Raises
    ------
    ValueError
        If the frame is not a result of this suite.
    """
    check_frame(frame)
    return options(frame[_told(frame)], "solver_name") or {NOBODY: ""}


def exponent_traces(frame, dataset, objective, solver):
    """Return the traces of a solver's exponents, and how its other cells failed.

    Each layer is a curve against training steps, as `draw_cells` makes them of the solver's good cells, in the model's
    order: the median over seeds of the exponent in the last step before an evaluation, with its interval. SGD and Muon
    are lines across.

    Returns
    -------
    list of Trace
        Named after the layers, whose colours they have; empty if no good cell has exponents.
    collections.Counter
        The statuses of the failed cells.

    Raises
    ------
    ValueError
        For the reasons given in `cells`; if what the rows of a good cell hold is not exponents by layer; or if good
        cells differ in their layers, for then they are of different models, and no median makes sense.
    """
    check_frame(frame)
    own = frame[
        (frame["dataset_name"] == dataset) & (frame["objective_name"] == objective) & (frame["solver_name"] == solver)
    ]
    if COLUMN not in own:
        return [], Counter()
    found = cells(own, dataset, objective, COLUMN.removeprefix("objective_"))
    failures = Counter(cell.status for cell in found if not cell.ok)
    good = own[own["idx_rep"].isin([cell.seed for cell in found if cell.ok])]
    exponents = [_parse(row) if told else {} for told, (_, row) in zip(_told(good), good.iterrows(), strict=True)]
    layers = _common_layers(good, exponents)
    lines = []
    for layer in layers:
        rows = good.assign(objective_exponent=[each.get(layer, np.nan) for each in exponents])
        lines += [replace(cell, solver=layer) for cell in cells(rows, dataset, objective, "exponent")]
    traces = draw_cells(lines, [line.stop_val.astype(float) for line in lines], "linear")
    if traces:
        right = max(x for trace in traces for x in trace.x) or 1.0
        traces += [Trace(None, label, "line", [0.0, right], [at, at], 0) for label, at in REFERENCES.items()]
    return traces, failures


def _told(frame):
    """Return which rows hold exponents: those of methods without any hold "", and those of failures NaN."""
    if COLUMN not in frame:
        return np.zeros(len(frame), dtype=bool)
    return (frame[COLUMN].notna() & (frame[COLUMN] != "")).to_numpy(dtype=bool)


def _parse(row):
    """Return the exponents by layer that a row tells."""
    text = row[COLUMN]
    try:
        exponents = json.loads(text)
    except (TypeError, ValueError):  # JSONDecodeError is a ValueError
        exponents = None
    # Exponents are at least -1/2, and shares of the gradient -1; NaN is in no range.
    right = isinstance(exponents, dict) and all(
        type(each) in (int, float) and -1 <= each <= 1 for each in exponents.values()
    )
    if not right:
        raise ValueError(
            f"{row['solver_name']}, repetition {row['idx_rep']}, on {row['dataset_name']}: {COLUMN} is "
            f"{shorten(text)!r} after {row['stop_val']} steps; allowed: a JSON object of numbers from -1 to 1 by "
            'layer, such as {"conv.weight": 0.25}, or nothing. Report on a file that `benchopt run` wrote.'
        )
    return exponents


def _common_layers(rows, exponents):
    """Return the layers of all seeds, in the model's order."""
    pairs = list(zip(rows["idx_rep"], exponents, strict=True))
    silent = {seed for seed, _ in pairs} - {seed for seed, told in pairs if told}
    pairs = [(seed, told) for seed, told in pairs if told or seed in silent]
    for pair in pairs:
        if set(pair[1]) != set(pairs[0][1]):
            raise ValueError(_differing(rows, pairs[0], pair))
    return list(pairs[0][1]) if pairs else []


def _differing(rows, one, other):
    """Say which layers only one of two (seed, exponents) has."""
    only = [
        f"{', '.join(sorted(set(mine) - set(yours))) or 'nothing'} in repetition {seed} alone"
        for (seed, mine), (_, yours) in ((one, other), (other, one))
    ]
    return (
        f"{rows['solver_name'].iloc[0]} on {rows['dataset_name'].iloc[0]} has exponents of different layers, "
        f"{' and '.join(map(shorten, only))}; allowed: the same in all good cells. This looks like runs of several "
        "models in one file; report on one file at a time."
    )


# ----- text and looks -----


def ylabel(solver):
    """Say what a solver's exponents are: `two_directions` mixes gradient and polar factor instead."""
    if parameters(solver).get("exponent") == "two_directions":
        return "share of the gradient in the mix with its polar factor"
    return "exponent e of U S^e V^T"


def protocol(traces, failures):
    """Say in one line what the curves show."""
    count = failures.total()
    if not traces:
        return f"no exponents: {format_failures(failures)}" if count else "no row here tells an exponent"
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    left_out = f"; left out: {count} failed cells ({format_failures(failures)})" if count else ""
    return (
        f"by layer, in the last step before each evaluation: median over seeds ({seeds}); band and bars: its "
        f"{100 * LEVEL:.0f} % interval, the range below 6 seeds{left_out}"
    )


def layer_styles(traces):
    """Map each layer to its colour and marker, by its place in the model: they are no solver's."""
    layers = list(dict.fromkeys(trace.solver for trace in traces if trace.solver is not None))
    colours = _COLOURS(np.linspace(0, 1, len(layers))).tolist()
    return {
        layer: {"color": tuple(colour), "marker": place}
        for place, (layer, colour) in enumerate(zip(layers, colours, strict=True))
    }
