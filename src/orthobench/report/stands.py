"""In what process the solvers of rows ran, the kind of their stand: only times and memory of one kind compare."""

import json
from collections import Counter

import numpy as np
import pandas as pd

from orthobench.report.names import parameters

COLUMN = "objective_env_stand"
BEFORE = "before"  # what a row is of that tells none, as all were before there were stands
IN_PROCESS = "in process"  # a debugger's: such rows are not published
MEANING = (
    "in what process the solver ran. process: in one of its own, whose time the wall clock and the processor's bound "
    "from outside; process, wall clock alone: likewise, by the first clock alone; in process: in the harness's, for "
    "debugging, where nothing is protected; none: in the harness's, as all rows before this column, or it failed "
    "before it had a process"
)
_NONE = "none"
_ORDER = ("process", "process, wall clock alone", IN_PROCESS, BEFORE)  # of tables and figures
_CELL = ["dataset_name", "objective_name", "solver_name", "idx_rep"]
_STEP, _STEPS = "objective_step_time_ms", "objective_steps"
_MATRIX, _BY_MATRIX = "objective_time_per_matrix_s", "objective_by_matrix"
USED = (COLUMN, _STEP, _STEPS, _MATRIX, _BY_MATRIX)  # by `kinds` and `method_time`, besides what all rows have


def kinds(frame):
    """Return the kind of stand of each row, an array of text.

    A row that tells none is of the kind `BEFORE`. A failed row that says it had none, for its cell failed too early, is
    of the kind of other rows of its cell, else of most rows.
    """
    if COLUMN not in frame:
        return np.full(len(frame), BEFORE, dtype=object)
    lost = _lost(frame)
    told = frame[COLUMN].astype(object)
    found = told.mask(told.isna() | (told == _NONE).fillna(False).astype(bool), BEFORE).to_numpy(copy=True)
    if lost.any() and not lost.all():
        usual = Counter(found[~lost]).most_common(1)[0][0]
        by_cell = dict(zip(frame.loc[~lost, _CELL].itertuples(index=False, name=None), found[~lost], strict=True))
        cells = frame.loc[lost, _CELL].itertuples(index=False, name=None)
        found[lost] = [by_cell.get(cell, usual) for cell in cells]
    return found


def _lost(frame):
    """Say which rows failed before they had a stand."""
    return ((frame[COLUMN] == _NONE) & (frame["objective_status"] != "ok")).to_numpy(dtype=bool, na_value=False)


def settled(frame):
    """Return the rows of a file with the failed ones among them of the kind of the others; see `kinds`.

    Once its rows are among those of others, the file's own kind can't be told.
    """
    lost = _lost(frame) if COLUMN in frame else np.zeros(len(frame), dtype=bool)
    if not lost.any() or lost.all():
        return frame
    found = kinds(frame)
    known = np.where(found == BEFORE, None, found)
    return frame.assign(**{COLUMN: np.where(lost, known, frame[COLUMN].to_numpy(dtype=object))})


def apart(frame, timed=True, **where):
    """Divide rows by the kind of their stand, where times or memory are compared.

    Parameters
    ----------
    frame : pandas.DataFrame
    timed : bool
        Whether they are: all else compares, and stays together.
    **where
        Columns and values: whether there are several kinds is asked of these rows alone.

    Returns
    -------
    dict
        Frames by kind; all rows by the empty text if they are of one kind.
    """
    if not timed or COLUMN not in frame:
        return {"": frame}
    chosen = rows_where(frame, **where)
    found = kinds(chosen)
    listed = in_order(found)
    return {kind: chosen[found == kind] for kind in listed} if len(listed) > 1 else {"": frame}


def rows_where(frame, **where):
    """Return the rows with these values of columns."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def in_order(found):
    """List different kinds: stands first, then what was before them."""
    return sorted(set(found), key=lambda kind: (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), str(kind)))


def marked(text, kind):
    """Return a text with the kind that it is of, if that is told."""
    return f"{text} ({kind})" if kind else text


def unmarked(text):
    """Return what `marked` was given."""
    return next(((text.removesuffix(f" ({each})"), each) for each in _ORDER if text.endswith(f" ({each})")), (text, ""))


def note(found):
    """Say that times and memory of several kinds don't mix; nothing if there is one."""
    listed = in_order(kind for kind in found if kind)
    if len(listed) < 2:
        return ""
    return (
        f"these solvers ran in processes of several kinds (env_stand: {'; '.join(map(str, listed))}), whose times and "
        "memory don't mix: each is compared with its own kind alone"
    )


def sentence(found):
    """Return the `note` as a sentence of its own."""
    told = note(found)
    return f"{told[0].upper()}{told[1:]}." if told else ""


def noted(text, found):
    """Return a text with the `note` after it, if there is one."""
    return "; ".join(filter(None, [text, note(found)]))


# ----- time -----


def method_time(frame):
    """Return the seconds of the method up to each row, an array.

    Benchopt's own clock, the column ``time``, tells them of a solver that runs in the bench. Where it is in another
    process, that clock sees all that the bench does meanwhile: the seconds are then those of the harness's figures, NaN
    without such.
    """
    time = frame["time"].to_numpy(dtype=float, na_value=np.nan)
    inside = kinds(frame) == BEFORE
    return time if inside.all() else np.where(inside, time, _by_harness(frame))


def _by_harness(frame):
    if _STEP in frame and _STEPS in frame:
        steps = _numbers(frame[_STEPS])
        return np.where(steps == 0, 0.0, 1e-3 * _numbers(frame[_STEP]) * steps)
    if _MATRIX in frame:
        counts = {name: _matrices(name, own) for name, own in frame.groupby("dataset_name", sort=False)}
        return _numbers(frame[_MATRIX]) * frame["dataset_name"].map(counts).to_numpy(dtype=float)
    return np.full(len(frame), np.nan)


def _numbers(column):
    return pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def _matrices(dataset, rows):
    """Return the number of a data set's matrices; NaN if neither its name nor a row tells it."""
    count = parameters(dataset).get("count", "")
    if count.isdecimal():
        return float(count)
    for text in rows[_BY_MATRIX].dropna().unique() if _BY_MATRIX in rows else ():
        try:
            found = json.loads(text)
        except (TypeError, ValueError):
            continue
        if isinstance(found, list) and found:
            return float(len(found))
    return np.nan
