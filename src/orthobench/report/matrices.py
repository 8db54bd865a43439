"""What the rows say about each matrix: the JSON of the column ``objective_by_matrix``."""

import json
from dataclasses import dataclass

import numpy as np

from orthobench.report.cells import check_frame

COLUMN = "objective_by_matrix"


@dataclass(frozen=True)
class Matrix:
    """One matrix of a data set, and what a method made of it."""

    name: str  # of the layer, or the matrix's number
    rows: int
    columns: int
    rank: int
    stable_rank: float
    relative_error: float
    sigma_in: np.ndarray  # at most 32 singular values, decreasing, divided by the largest
    sigma_out: np.ndarray  # u_i^T X v_i at the same indices


def last_matrices(frame, dataset, objective):
    """List (solver, seed, matrices) of the good cells of a data set and objective, at their last points.

    A cell without the column, or whose text is not what the column should hold, is left out.

    Raises
    ------
    ValueError
        If the frame is not a result of this suite.
    """
    check_frame(frame)
    if COLUMN not in frame:
        return []
    chosen = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    keys = ["solver_name", "idx_rep"]
    failed = set(chosen.loc[chosen["objective_status"] != "ok", keys].itertuples(index=False, name=None))
    last = chosen.sort_values([*keys, "stop_val"], kind="stable").groupby(keys, sort=True).tail(1)
    found = []
    for solver, seed, text in last[[*keys, COLUMN]].itertuples(index=False, name=None):
        matrices = None if (solver, seed) in failed else parse(text)
        if matrices:
            found.append((str(solver), int(seed), matrices))
    return found


def parse(text):
    """Return the matrices that a text describes; None if it is not such a text."""
    try:
        return [_matrix(**each) for each in json.loads(text)]
    except (TypeError, ValueError):  # JSONDecodeError is a ValueError
        return None


def _matrix(name, rows, columns, rank, stable_rank, relative_error, sigma_in, sigma_out, **_):
    values, outputs = np.asarray(sigma_in, dtype=float), np.asarray(sigma_out, dtype=float)
    numbers = [*values, *outputs, float(stable_rank), float(relative_error)]
    if values.ndim != 1 or values.shape != outputs.shape or not np.isfinite(numbers).all():
        raise ValueError("singular values before and after are two lists of equal length, finite like all figures")
    return Matrix(str(name), int(rows), int(columns), int(rank), *numbers[-2:], values, outputs)
