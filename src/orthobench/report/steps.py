"""Where the time of a training step goes: data, forward, backward, optimizer."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from orthobench.report import stands
from orthobench.report.leaderboard import (
    cells_by_solver,
    format_failures,
    format_interval,
    format_number,
    format_seeds,
    last_values,
)
from orthobench.report.statistics import LEVEL, Interval, interval, interval_told

PARTS = ("data", "forward", "backward", "optimizer")
_TIME, _SHARE = (0.0, np.inf), (0.0, 1.0)  # what is possible


@dataclass(frozen=True)
class Row:
    """One solver; milliseconds. None stands for what no good cell tells."""

    solver: str
    n: int
    step: Interval | None
    parts: dict  # Interval or None, by PARTS
    other: Interval | None  # what is left of a step
    share: Interval | None  # of the optimizer in the four parts, as the metric `optimizer_share`
    failures: Counter  # of statuses
    stand: str = ""  # the kind of process that it ran in, where there are several


def step_times(frame, dataset, objective):
    """Compare the solvers on one data set and objective by the parts of their mean time per step.

    Returns
    -------
    list of Row
        The shortest step first, solvers without a figure last; kind by kind where solvers ran in processes of several
        kinds. Empty if the rows tell no time per step.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.
    """
    if "objective_step_time_ms" not in frame:
        return []
    parts = stands.apart(frame, dataset_name=dataset, objective_name=objective)
    return [replace(row, stand=kind) for kind, part in parts.items() for row in _rows(part, dataset, objective)]


def _rows(frame, dataset, objective):
    by_solver = cells_by_solver(frame, dataset, objective, "step_time_ms")
    steps = last_values(by_solver)
    parts = {part: _part(frame, dataset, objective, part) for part in PARTS}
    rows = []
    for solver, step in steps.items():
        own = pd.DataFrame({part: parts[part].get(solver, pd.Series(dtype=float)) for part in PARTS})
        whole = own.sum(axis=1, skipna=False)
        rows.append(
            Row(
                solver=solver,
                n=len(step),
                step=_mean(step, _TIME),
                parts={part: _mean(own[part], _TIME) for part in PARTS},
                other=_mean(step - whole, _TIME),
                share=_mean(own["optimizer"] / whole, _SHARE),
                failures=Counter(cell.status for cell in by_solver[solver] if not cell.ok),
            )
        )
    return sorted(rows, key=lambda row: (row.step is None, row.step.estimate if row.step else 0.0, row.solver))


def _part(frame, dataset, objective, part):
    metric = f"{part}_time_ms"
    return last_values(cells_by_solver(frame, dataset, objective, metric)) if f"objective_{metric}" in frame else {}


def _mean(values, within):
    finite = values[np.isfinite(values)]
    return interval(finite, within=within) if len(finite) else None


# ----- text -----

COLUMNS = (
    "step (ms)",
    "solver",
    "n",
    f"{100 * LEVEL:.0f} % interval",
    *PARTS,
    "other",
    "optimizer's share",
    "failures",
)


def format_row(row):
    """Return the cells of a row as text, in the order of `COLUMNS`."""
    return [
        format_number(row.step.estimate) if row.step else "n/a",
        stands.marked(row.solver, row.stand),
        str(row.n),
        format_interval(row.step.low, row.step.high) if row.step else "n/a",
        *(_format_mean(row.parts[part]) for part in PARTS),
        _format_mean(row.other),
        _format_mean(row.share),
        format_failures(row.failures),
    ]


def _format_mean(mean):
    return f"{format_number(mean.estimate)} {format_interval(mean.low, mean.high)}" if mean else "n/a"


def protocol(rows):
    """Say in one line what the table shows."""
    if not rows:
        return "no row tells the time per step"
    told = (
        f"milliseconds per training step, means over seeds ({format_seeds(row.n for row in rows if row.n)}) with "
        f"{interval_told(many=True)}; other: what is left of a step after its four parts; optimizer's "
        "share: in these four; failed cells are left out; times compare within one run on one machine"
    )
    return stands.noted(told, [row.stand for row in rows])
