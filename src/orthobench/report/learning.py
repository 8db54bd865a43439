"""Learning curves: held-out loss or accuracy against steps or time, with the target and the floor as lines."""

import numpy as np

from orthobench.report import stands
from orthobench.report.benchmarks import HIGHER, METRICS
from orthobench.report.cells import cells
from orthobench.report.curves import Trace, draw_cells, traces_apart
from orthobench.report.leaderboard import format_seeds
from orthobench.report.names import short_solvers
from orthobench.report.statistics import LEVEL
from orthobench.report.survival import format_levels, levels

METRICS_OF_CURVES = ("held_out_loss", "held_out_accuracy", "train_loss")
AGAINST = {"steps": "training steps", "time": "time of the training steps alone (s)"}
LINES = ("target", "floor")


def learning_traces(frame, dataset, objective, metric="held_out_loss", against="steps"):
    """Return the traces of a metric against training steps or training time; see `draw_cells`.

    In the figure of the held-out loss, the data set's target and the least loss that any model can expect are lines
    across; where each seed has its own, as on simulated data, the line is at their median, and its label tells the
    range. Solvers are called by their families and those of their parameters in which they differ. Against time, what
    ran in processes of several kinds is apart.

    Parameters
    ----------
    against : str
        A key of `AGAINST`.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    worst = min if METRICS[metric].better == HIGHER else max

    def drawn(part):
        found = cells(part, dataset, objective, metric)
        along = [cell.time if against == "time" else cell.stop_val.astype(float) for cell in found]
        labels = short_solvers(list(dict.fromkeys(cell.solver for cell in found)))
        return draw_cells(found, along, scale(metric), worst, labels)

    traces = traces_apart(drawn, frame, against == "time", dataset_name=dataset, objective_name=objective)
    if metric != "held_out_loss" or not traces:
        return traces
    right = max(x for trace in traces for x in trace.x) or 1.0
    for name in LINES:
        values = [value for value in levels(frame, dataset, objective, name) if value > 0]  # the axis is logarithmic
        if values:
            at = float(np.median(values))
            traces.append(Trace(None, f"{name}: {format_levels(values)}", "line", [0.0, right], [at, at], 0))
    return traces


def scale(metric):
    """Return Benchopt's name for the scales of the axes; steps and time start at 0, so theirs is linear."""
    return "semilog-y" if METRICS[metric].scale == "log" else "linear"


def protocol(traces):
    """Say in one line what the curves show."""
    seeds = format_seeds(trace.n for trace in traces if trace.kind == "curve")
    told = (
        f"median over seeds ({seeds}); band and bars: its {100 * LEVEL:.0f} % interval, the range below 6 seeds; "
        "crosses: failed cells"
    )
    return stands.noted(told, [trace.stand for trace in traces])
