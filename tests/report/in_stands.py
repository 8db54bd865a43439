"""Made-up rows of solvers that ran in a process of their own, and rows of both kinds on one machine."""

import pandas as pd
from made_up import ADAMW, DIGITS, GAUSSIAN, MOMENTA, OWN_MUON, TURBO, noise, root_frame, training_frame

PROCESS, WALL, IN_PROCESS, BEFORE = "process", "process, wall clock alone", "in process", "before"
TRANSPORT_S = 1e4  # what Benchopt's clock sees of such a cell


def in_stand(frame, kind=PROCESS):
    """Rows as they are where solvers run in stands: what Benchopt's clock tells is not the method's time."""
    return frame.assign(objective_env_stand=kind, time=TRANSPORT_S)


def lost(frame, solver, seed, **columns):
    """Turn a cell into one that failed before it had a stand."""
    cell = (frame["solver_name"] == solver) & (frame["idx_rep"] == seed)
    first = cell & (frame["stop_val"] == frame.loc[cell, "stop_val"].min())
    rows = frame[~cell | first].copy()
    here = first[rows.index]
    numbers = [name for name in rows if name.startswith("objective_") and rows[name].dtype.kind == "f"]
    rows.loc[here, numbers] = float("nan")
    for name, value in {
        "objective_status": "error",
        "objective_message": "made to fail",
        "objective_env_stand": "none",
        **columns,
    }.items():
        rows.loc[here, name] = value
    return rows.reset_index(drop=True)


def shifted(frame, seeds):
    """Rows with other repetitions."""
    return frame.assign(idx_rep=frame["idx_rep"] + seeds)


def slow(factor):
    """A time per matrix of a millisecond, times a factor."""
    return lambda solver, dataset, dtype, seed: 1e-3 * factor * noise(solver, dataset, dtype, seed)


def root_before(datasets=(GAUSSIAN, MOMENTA)):
    """SVD, Muon and Turbo-Muon, seeds 0 to 7, at 1 ms a matrix."""
    return root_frame(solvers=("SVD", "Muon", "Turbo-Muon"), datasets=datasets, time=slow(1))


def root_since(datasets=(GAUSSIAN, MOMENTA)):
    """Muon and Turbo-Muon, seeds 8 to 15, half and a third as slow: a comparison with the others would tell."""
    muon = root_frame(solvers=("Muon",), datasets=datasets, time=slow(1 / 2))
    turbo = root_frame(solvers=("Turbo-Muon",), datasets=datasets, time=slow(1 / 3))
    return in_stand(shifted(pd.concat([muon, turbo], ignore_index=True), 8))


def training_before():
    """AdamW and two of Muon on digits, seeds 0 to 7, at 5 ms a step."""
    return training_frame(solvers=(ADAMW, OWN_MUON, TURBO), datasets=(DIGITS,))


def training_since():
    """AdamW and one of Muon, seeds 8 to 15, at 2 and 1 ms."""
    frames = [
        training_frame(
            solvers=(solver,), datasets=(DIGITS,), time=lambda name, data, seed, ms=ms: ms * noise(name, seed)
        )
        for solver, ms in ((ADAMW, 2), (TURBO, 1))
    ]
    return in_stand(shifted(pd.concat(frames, ignore_index=True), 8))


def pooled(*frames):
    """The rows of several files as one result."""
    return pd.concat(frames, ignore_index=True)
