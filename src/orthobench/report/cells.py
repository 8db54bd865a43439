"""The cells of a result frame: what one solver did with one seed on one data set and objective."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from orthobench.report import stands

REQUIRED = (
    "dataset_name",
    "objective_name",
    "solver_name",
    "idx_rep",
    "stop_val",
    "time",
    "objective_status",
    "objective_message",
)


@dataclass(frozen=True)
class Cell:
    """The points of one cell in the order they were reached, and the status of its end."""

    solver: str
    seed: int
    status: str
    message: str
    stop_val: np.ndarray
    time: np.ndarray  # seconds of the method, cumulative
    value: np.ndarray  # of the metric asked for; NaN where it does not apply or is not finite
    stand: str = stands.BEFORE  # the kind of its process, see `stands.kinds`

    @property
    def ok(self):
        """Whether every point is good: a cell that failed late is a failed cell."""
        return self.status == "ok"


def check_frame(frame):
    """Raise ValueError, naming the missing columns, if the frame is not a result of this suite."""
    missing = [column for column in REQUIRED if column not in frame]
    if missing:
        raise ValueError(f"not a result file of OrthoBench: the columns {', '.join(missing)} are missing.")


def cells(frame, dataset, objective, metric):
    """List the cells of one data set and objective, by solver and seed.

    Raises
    ------
    ValueError
        If the frame is foreign, lacks the metric, or holds a point twice (files of several machines put together).
    """
    check_frame(frame)
    column = f"objective_{metric}"
    if column not in frame:
        known = sorted(name.removeprefix("objective_") for name in frame if name.startswith("objective_"))
        raise ValueError(f"no metric {metric!r} in this result; it has {', '.join(known)}.")
    # Rows have many more columns, and copies of these take time.
    needed = list(dict.fromkeys([*REQUIRED, *used_of_stands(frame), column]))
    selected = frame.loc[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective), needed]
    solvers, seeds = selected["solver_name"].to_numpy(dtype=object), selected["idx_rep"].to_numpy()
    stop_val, failed = selected["stop_val"].to_numpy(), (selected["objective_status"] != "ok").to_numpy(dtype=bool)
    number, names = pd.factorize(solvers, sort=True)
    # A failure may carry the stop_val of the last good point: it comes after it.
    keys = number, seeds, stop_val, failed
    order = np.lexsort(keys[::-1])
    changes = [each[order][1:] != each[order][:-1] for each in keys]
    repeated = np.flatnonzero(~np.any(changes, axis=0))
    if len(repeated):
        first = order[repeated[0]]
        raise ValueError(
            f"{solvers[first]}, repetition {seeds[first]}, on {dataset} has the same point twice: this looks like "
            "several runs in one file; report on one file at a time."
        )
    value = pd.to_numeric(selected[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    value = np.where(np.isfinite(value), value, np.nan)
    time, kind = stands.method_time(selected), stands.kinds(selected)
    status = selected["objective_status"].fillna("error").to_numpy(dtype=object)
    message = selected["objective_message"].fillna("").to_numpy(dtype=object)

    found = []
    ends = np.flatnonzero(changes[0] | changes[1]) + 1
    for rows in np.split(order, ends) if len(order) else ():
        # The first failure is how the cell ended.
        end = rows[np.argmax(failed[rows])] if failed[rows].any() else rows[-1]
        found.append(
            Cell(
                solver=str(names[number[end]]),
                seed=int(seeds[end]),
                status=str(status[end]),
                message=str(message[end]),
                stop_val=stop_val[rows],
                time=time[rows],
                value=value[rows],
                stand=str(kind[end]),
            )
        )
    return found


def used_of_stands(frame):
    """List the columns that times depend on, where solvers ran in stands."""
    return [name for name in stands.USED if name in frame] if stands.COLUMN in frame else []
