"""Figures of explanations, the third task of `benchmark_lipschitz`: maps, curves of removal, and counterfactuals."""

import json

import numpy as np

from orthobench.report import pictures
from orthobench.report.cells import check_frame
from orthobench.report.curves import Trace
from orthobench.report.leaderboard import cells_by_solver
from orthobench.report.medians import failed_cells, median_curve, point_traces
from orthobench.report.names import parameters, short_solvers
from orthobench.report.page import options
from orthobench.report.robustness import headline, task_of

TASK = "explanation"
CURVES = ("deletion", "insertion")
MAPS = ("saliency", "gradient_input", "smoothgrad", "integrated")
RANDOM = "random"
COLUMN = "objective_removal_curves"
MAPS_SHOWN = (
    "the image, and its maps by saliency (the gradient's absolute value), gradient times input, SmoothGrad and "
    "integrated gradients; those with a sign are red where they are positive and blue where they are negative"
)
POINTS_SHOWN = (
    "the image, where two of Newton's steps along the gradient lead to (x - 2 s grad s / |grad s|²), and the training "
    "image nearest to that"
)


def objectives(frame):
    """Map what a menu shows of the objectives with explanations to their names; all objectives if there are none."""
    check_frame(frame)
    found = options(frame, "objective_name")
    return {shown: name for shown, name in found.items() if parameters(name).get("task") == TASK} or found


def removal_traces(frame, dataset, objective, curve, explained_by):
    """Return the score against the share of the pixels that are taken away, or put in, in a map's order.

    Per solver: the median over its good cells at each share with its interval as a band, and dashed that of random
    orders of the same network. Between the two is the gain. A solver with failed cells has a cross.

    Parameters
    ----------
    curve : str
        One of `CURVES`.
    explained_by : str
        One of `MAPS`.

    Raises
    ------
    ValueError
        If the frame is foreign.
    """
    if task_of(objective) != TASK or COLUMN not in frame:
        return []
    found = cells_by_solver(frame, dataset, objective, "value")
    rows = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    good = rows[rows["objective_status"] == "ok"].sort_values("stop_val", kind="stable")
    last = good.groupby(["solver_name", "idx_rep"]).tail(1)
    names, traces = short_solvers(list(found)), []
    for solver, own in found.items():
        seeds = {cell.seed for cell in own if cell.ok}
        chosen = last[(last["solver_name"] == solver) & last["idx_rep"].isin(seeds)]
        curves = [each for each in map(_read, chosen[COLUMN]) if each]
        for name, label in ((RANDOM, f"{names[solver]}: random order"), (explained_by, names[solver])):
            points = _by_share(curves, curve, name)
            if points:
                drawn = median_curve(solver, label, points)
                traces.append(Trace(solver, label, "dashed", drawn.x, drawn.y, drawn.n) if name == RANDOM else drawn)
    return traces + failed_cells(found, names, 0.0, 0.0)


def _read(text):
    """Return the curves that a row holds; none where it holds no such text."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _by_share(curves, curve, name):
    """Map each share to the values of the curves there, those left out that aren't lists of as many numbers."""
    points = {}
    for each in curves:
        try:
            shares, values = (np.asarray(own, dtype=float) for own in (each["shares"], each[curve][name]))
        except (KeyError, TypeError, ValueError):
            continue
        if shares.ndim == 1 and shares.shape == values.shape and np.isfinite([*shares, *values]).all():
            for share, value in zip(shares.tolist(), values.tolist(), strict=True):
                points.setdefault(share, []).append(value)
    return dict(sorted(points.items()))


def saturation_traces(frame, dataset, objective):
    """Return certified accuracy at 36/255 against saturation, one point a solver; see `point_traces`."""
    if task_of(objective) != TASK:
        return []
    return point_traces(frame, dataset, objective, "saturation", headline(objective))


def maps(frame, dataset, objective):
    """Return pictures of images with their maps, by solver; see `pictures.by_solver`."""
    return _pictures(frame, dataset, objective, MAPS_SHOWN, "maps_picture")


def counterfactuals(frame, dataset, objective):
    """Return pictures of images with their counterfactuals, by solver; see `pictures.by_solver`."""
    return _pictures(frame, dataset, objective, POINTS_SHOWN, "counterfactuals_picture")


def _pictures(frame, dataset, objective, shown, column):
    check_frame(frame)
    return pictures.by_solver(frame, dataset, objective, shown, column) if task_of(objective) == TASK else []
