"""Steps, or time, to the target of the held-out loss: censored where a cell ended without reaching it."""

import warnings
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from orthobench.report import stands
from orthobench.report.benchmarks import BENCHMARKS, METRICS
from orthobench.report.cells import cells
from orthobench.report.leaderboard import format_failures, format_interval, format_number, format_seeds
from orthobench.report.statistics import LEVEL, Interval

TO_TARGET = tuple(metric for benchmark in BENCHMARKS.values() for metric in benchmark.to_target)
_AT_HALF = 0.5 + 1e-9  # a product of fractions may miss 1/2 in the last bit


@dataclass(frozen=True)
class Attempt:
    """One cell: where it reached the target, or how far it is known not to have."""

    solver: str
    seed: int
    at: float  # of the metric; infinite for a failed cell, which no more steps would have helped
    reached: bool
    status: str
    message: str


@dataclass(frozen=True)
class Row:
    """One solver. Bounds are infinite where the target is not reached; NaN for what can't be computed."""

    solver: str
    n: int  # cells, failed ones among them
    reached: int
    share: Interval
    median: Interval
    unreached: int  # good cells that ended before
    failures: Counter  # of statuses
    note: str  # the message of the first failure
    stand: str = ""  # the kind of process that it ran in, where times of several kinds are compared


def attempts(frame, dataset, objective, metric="steps_to_target"):
    """List what became of each cell of one data set and objective, from its curve of the held-out loss.

    The target is reached at the first of two evaluations in a row at or below it. A good cell that did not reach it is
    censored at its last evaluation. A failed cell did not reach it, whatever it had reached before, and would not have
    with any number of steps: it is censored at infinity.

    Parameters
    ----------
    metric : str
        "steps_to_target", or "time_to_target_s" for the seconds of training.

    Raises
    ------
    ValueError
        If solvers had different targets with the same seed, if the column ``objective_steps_to_target`` disagrees with
        the curve, or for the reasons given in `cells`.
    """
    found = cells(frame, dataset, objective, "held_out_loss")
    targets = {(cell.solver, cell.seed): cell.value for cell in cells(frame, dataset, objective, "target")}
    _check_targets(dataset, targets)
    _check_column(frame, dataset, objective, found, targets)
    along = {id(cell): cell.time if metric == "time_to_target_s" else cell.stop_val.astype(float) for cell in found}
    listed = []
    for cell in found:
        x = along[id(cell)]
        index = _first_reached(cell, targets[cell.solver, cell.seed]) if cell.ok else None
        at = np.inf if not cell.ok else x[-1] if index is None else x[index]
        listed.append(Attempt(cell.solver, cell.seed, float(at), index is not None, cell.status, cell.message))
    return listed


def _first_reached(cell, target):
    """Return the index of the first of two evaluations in a row at or below the target; None without one."""
    below = cell.value <= target  # False for NaN
    both = np.flatnonzero(below[:-1] & below[1:])
    return int(both[0]) if len(both) else None


def _check_targets(dataset, targets):
    by_seed = {}
    for (_, seed), values in targets.items():
        by_seed.setdefault(seed, set()).update(values[np.isfinite(values)].tolist())
    for seed, values in by_seed.items():
        if len(values) > 1:
            told = " and ".join(f"{value:g}" for value in sorted(values))
            raise ValueError(f"repetition {seed} on {dataset} has the targets {told}: report on one run at a time.")


def _check_column(frame, dataset, objective, found, targets):
    if "objective_steps_to_target" not in frame:
        return
    told = {(cell.solver, cell.seed): cell for cell in cells(frame, dataset, objective, "steps_to_target")}
    for cell in found:
        index = _first_reached(cell, targets[cell.solver, cell.seed])
        ours = np.nan if index is None else float(cell.stop_val[index])
        theirs = told[cell.solver, cell.seed].value[-1]
        if cell.ok and not np.array_equal(ours, theirs, equal_nan=True):
            raise ValueError(
                f"{cell.solver}, repetition {cell.seed}, on {dataset}: steps_to_target is {theirs:g}, and the curve of "
                f"held_out_loss says {ours:g}. Compute the rows again (-f SOLVER); if they still disagree, the harness "
                "is wrong."
            )


def kaplan_meier_median(at, reached, level=LEVEL):
    """Return the median of censored times by the Kaplan-Meier estimate, with its interval.

    The median is the first time at which the estimate is 1/2 or less, infinite if it stays above. Its bounds are read
    off the pointwise log-log bands in the same way (Brookmeyer and Crowley, 1982). Where all have been reached the
    bands are taken to end at 0, so that with few values, none censored, the interval is their range. One value has
    none (NaN).

    Parameters
    ----------
    at : sequence of float
    reached : sequence of bool
        False where the time is only known to be longer than ``at``, or infinite where ``at`` is.

    Raises
    ------
    ValueError
        If there is no value, one that is NaN, or one that was reached at infinity.

    References
    ----------
    Brookmeyer and Crowley, A confidence interval for the median survival time, Biometrics 38 (1982).
    """
    at, reached = np.asarray(at, dtype=float), np.asarray(reached, dtype=bool)
    if not len(at) or np.isnan(at).any() or np.isinf(at[reached]).any():
        raise ValueError(f"a median needs times, all finite but for what is never reached, got {at.tolist()}.")
    at = np.where(np.isinf(at), at[reached].max(initial=0.0) + 1, at)  # after all else, which is all that counts
    survival = stats.ecdf(stats.CensoredData(uncensored=at[reached], right=at[~reached])).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the bands are undefined where the estimate is 1 or 0
        bands = survival.confidence_interval(level, method="log-log")
    x, middle = survival.quantiles, survival.probabilities
    low, high = (np.where(np.isnan(band.probabilities), middle, band.probabilities) for band in (bands.low, bands.high))
    median, *bounds = (float(x[curve <= _AT_HALF].min(initial=np.inf)) for curve in (middle, low, high))
    return Interval(median, *(bounds if len(at) > 1 else (np.nan, np.nan)), len(at))


def share_reached(reached, n, level=LEVEL):
    """Return the share of cells that reached the target, with its exact interval (Clopper and Pearson, 1934)."""
    bounds = stats.binomtest(reached, n).proportion_ci(level, method="exact")
    return Interval(reached / n, float(bounds.low), float(bounds.high), n)


def to_target(frame, dataset, objective, metric="steps_to_target"):
    """Compare the solvers on one data set and objective by steps, or time, to the target.

    Returns
    -------
    list of Row
        By median, then by the share that reached the target. Empty if the data set has no target. By time, solvers in
        processes of several kinds are apart, kind by kind.

    Raises
    ------
    ValueError
        As for `attempts`.
    """
    if not has_target(frame, dataset, objective):
        return []
    parts = stands.apart(frame, METRICS[metric].timed, dataset_name=dataset, objective_name=objective)
    return [replace(row, stand=kind) for kind, part in parts.items() for row in _rows(part, dataset, objective, metric)]


def _rows(frame, dataset, objective, metric):
    by_solver = {}
    for attempt in attempts(frame, dataset, objective, metric):
        by_solver.setdefault(attempt.solver, []).append(attempt)
    rows = []
    for solver, own in by_solver.items():
        failed = [each for each in own if each.status != "ok"]
        reached = [each.reached for each in own]
        rows.append(
            Row(
                solver=solver,
                n=len(own),
                reached=sum(reached),
                share=share_reached(sum(reached), len(own)),
                median=kaplan_meier_median([each.at for each in own], reached),
                unreached=len(own) - sum(reached) - len(failed),
                failures=Counter(each.status for each in failed),
                note=next((each.message for each in failed if each.message), ""),
            )
        )
    return sorted(rows, key=lambda row: (row.median.estimate, -row.share.estimate, row.solver))


def has_target(frame, dataset, objective):
    """Whether the rows of a data set and objective tell a target of the held-out loss."""
    return len(levels(frame, dataset, objective, "target")) > 0


def evaluation_grid(frame, dataset, objective):
    """Say at which steps cells were evaluated, between which they can't be told apart; nothing without good rows."""
    rows = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    at = np.unique(rows.loc[rows["objective_status"] == "ok", "stop_val"].to_numpy(dtype=float)).astype(int)
    between = np.unique(np.diff(at))
    if not len(between):
        return ""
    apart = f"every {between[0]} steps" if len(between) == 1 else f"{between[0]} to {between[-1]} steps apart"
    return f"evaluated {apart}"


def levels(frame, dataset, objective, name):
    """Return the different values of a fixed loss, "target" or "floor", in order; simulated data have one a seed."""
    if f"objective_{name}" not in frame:
        return []
    rows = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    values = pd.to_numeric(rows[f"objective_{name}"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    return np.unique(values[np.isfinite(values)]).tolist()


# ----- text -----

COLUMNS = (
    "median",
    "solver",
    f"{100 * LEVEL:.0f} % interval of the median",
    "reached",
    f"share, {100 * LEVEL:.0f} % interval",
    "not reached",
    "failures",
)


def format_row(row, metric):
    """Return the cells of a row as text, in the order of `COLUMNS`."""

    def number(x):
        if np.isposinf(x):
            return "not reached"
        # Steps are whole.
        return f"{x:.0f}" if metric == "steps_to_target" and np.isfinite(x) else format_number(x)

    low, high = (number(x) for x in (row.median.low, row.median.high))
    return [
        number(row.median.estimate),
        stands.marked(row.solver, row.stand),
        f"[{low}, {high}]" if row.n > 1 else "n/a",
        f"{row.reached} of {row.n}",
        f"{format_number(row.share.estimate)} {format_interval(row.share.low, row.share.high)}",
        str(row.unreached),
        format_failures(row.failures),
    ]


def format_levels(values):
    """``2.20``, or ``2.15 to 2.31, by seed`` where they differ."""
    ends = [format_number(x) for x in (values[0], values[-1])]
    return ends[0] if len(values) == 1 else f"{ends[0]} to {ends[1]}, by seed"


def protocol(rows, targets, metric, grid=""):
    """Say in one line what the table shows and by which rules; ``grid`` is that of `evaluation_grid`."""
    if not rows:
        return f"{METRICS[metric].label}: these rows tell no target of the held-out loss"
    known = f" ({grid}: what lies between two evaluations counts with the later one)" if grid else ""
    told = (
        f"{METRICS[metric].label}, the first of two evaluations in a row with a held-out loss of at most "
        f"{format_levels(targets)}{known}: Kaplan-Meier median over seeds ({format_seeds(row.n for row in rows)}) with "
        f"its {100 * LEVEL:.0f} % interval (log-log bands); share reached with its Clopper-Pearson interval; cells "
        "that ended without reaching it are censored there, and failed cells count as never reaching it"
    )
    return stands.noted(told, [row.stand for row in rows])
