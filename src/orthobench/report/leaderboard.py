"""The leaderboard: one row a solver, from the last point of its cells; numbers first, their text apart."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from orthobench.report import history, stands
from orthobench.report.benchmarks import HIGHER, METRICS, recognise
from orthobench.report.cells import cells
from orthobench.report.names import selected
from orthobench.report.statistics import (
    LEVEL,
    MIN_SEEDS,
    Comparison,
    holm,
    interval,
    interval_told,
    paired_comparison,
    rank_with_ties,
)

GUARANTEED = "objective_guaranteed"
NO_GUARANTEE = "no guarantee"  # in place of a rank


@dataclass(frozen=True)
class Row:
    """One solver. NaN stands for what can't be computed; `difference` is None for the baseline or without one."""

    solver: str
    rank: str
    n: int
    mean: float
    low: float
    high: float
    difference: Comparison | None  # solver - baseline, over common seeds; p is Holm-adjusted, NaN below MIN_SEEDS
    time: float  # median over the cells, in seconds
    time_low: float  # the fastest cell
    time_high: float  # the slowest
    failures: Counter  # of statuses
    note: str  # the message of the first failure
    stand: str = ""  # the kind of process that its figures are of, where a table of times or memory has several
    time_stand: str = ""  # that of its time alone, where another table has several
    kinds: tuple = ()  # those of the table, where there are several

    @property
    def half(self):
        """Half the width of the interval before it was cut at what is possible; where both ends were, what is left."""
        return max(self.mean - self.low, self.high - self.mean)


def leaderboard(frame, dataset, objective, metric, baseline=None):
    """Compare the solvers on one data set and objective by the last point of each cell.

    A cell that did not end well counts as failed and is averaged nowhere, whatever it reached before; a solver with no
    good cell keeps its row. Ranks are those of `rank_with_ties`, 1 for the best. Differences are paired by seed against
    the baseline, their p-values Holm-adjusted over all the other solvers (an untested one counts with p = 1). By a
    metric that the benchmark compares among guarantees alone, a solver without one has no rank, and comes last.

    Times and memory compare among solvers that ran in processes of one kind: where there are several kinds, each has
    its own ranks and differences, and a solver a row for each kind of its cells. The time beside another figure is of
    one kind: that of the stand where a solver has cells of both.

    Superseded rows come last, with the reason: they have figures, and neither rank nor difference.

    Parameters
    ----------
    metric : str
        One of the benchmark's `leaderboards`, without ``objective_``.
    baseline : str or None
        The solver to compare with: its full name, or one that selects it alone, such as ``AdamW``.

    Returns
    -------
    list of Row
        The best mean first, the solvers without one last; kind by kind where these are kept apart.

    Raises
    ------
    ValueError
        If the benchmark has no leaderboard of the metric, or for the reasons given in `cells`.
    """
    allowed = recognise(frame).leaderboards
    if metric not in allowed:
        raise ValueError(f"no leaderboard of {metric!r}; choose one of {', '.join(allowed)}.")
    place = dataset, objective, metric
    return _by_kind(history.current(frame), *place, baseline) + superseded(frame, *place)


def superseded(frame, dataset, objective, metric):
    """Return what `leaderboard` has of superseded rows, by solver; where cells were run several times, by run."""
    found = []
    for old in history.generations(stands.rows_where(frame, dataset_name=dataset, objective_name=objective)):
        reasons = dict(zip(old["solver_name"], old[history.SUPERSEDED], strict=True))
        found += [
            replace(row, rank=history.SUPERSEDED, difference=None, note=reasons[row.solver])
            for row in _by_kind(old, dataset, objective, metric, None)
        ]
    return found


def _by_kind(frame, dataset, objective, metric, baseline):
    parts = stands.apart(frame, METRICS[metric].timed, dataset_name=dataset, objective_name=objective)
    benchmark = recognise(frame)
    unranked = _without_guarantee(frame, dataset, objective) if metric in benchmark.guaranteed else ()
    within = benchmark.range_of(metric)
    rows = {
        kind: _rows(cells_by_solver(part, dataset, objective, metric), metric, baseline, unranked, within)
        for kind, part in parts.items()
    }
    if len(parts) == 1:
        return rows[""]
    return [replace(row, stand=kind, kinds=tuple(parts)) for kind, own in rows.items() for row in own]


def _without_guarantee(frame, dataset, objective):
    """Return the solvers that have a good row which guarantees nothing."""
    here = frame[(frame["dataset_name"] == dataset) & (frame["objective_name"] == objective)]
    good = here[here["objective_status"] == "ok"]
    if GUARANTEED not in good:
        return set()
    return set(good.loc[~good[GUARANTEED].eq(True), "solver_name"])


def _rows(by_solver, metric, baseline, unranked, within):
    values = last_values(by_solver)
    counted = METRICS[metric].counted
    kinds = tuple(stands.in_order(cell.stand for own in by_solver.values() for cell in own if cell.ok))
    ranks = rank_with_ties(to_rank({s: v for s, v in values.items() if s not in unranked}, metric), counted=counted)
    compared = differences(values, find_baseline(by_solver, baseline), counted)

    rows = []
    for solver, own in by_solver.items():
        failed = [cell for cell in own if not cell.ok]
        times, kind = _times(own)
        mean = interval(values[solver], within=within) if len(values[solver]) else None
        # Good cells without a value: the metric does not apply. The mark is for failed cells, not for absent ones.
        if mean:
            rank = NO_GUARANTEE if solver in unranked else str(replace(ranks[solver], failed=len(failed)))
        else:
            rank = "failed" if failed else "n/a"
        rows.append(
            Row(
                solver=solver,
                rank=rank,
                n=len(values[solver]),
                mean=mean.estimate if mean else np.nan,
                low=mean.low if mean else np.nan,
                high=mean.high if mean else np.nan,
                difference=compared.get(solver),
                time=float(np.median(times)) if times else np.nan,
                time_low=float(min(times)) if times else np.nan,
                time_high=float(max(times)) if times else np.nan,
                failures=Counter(cell.status for cell in failed),
                note=next((cell.message for cell in failed if cell.message), ""),
                time_stand=kind if len(kinds) > 1 else "",
                kinds=kinds if len(kinds) > 1 else (),
            )
        )
    sign = -1 if METRICS[metric].better == HIGHER else 1

    def order(row):
        return np.isnan(row.mean), row.rank == NO_GUARANTEE, sign * np.nan_to_num(row.mean), row.solver

    return sorted(rows, key=order)


def _times(cells_of_solver):
    """Return the times of a solver's good cells, and the kind of its process that they are of."""
    by_kind = {}
    for cell in cells_of_solver:
        if cell.ok and np.isfinite(cell.time[-1]):
            by_kind.setdefault(cell.stand, []).append(cell.time[-1])
    kind = next(iter(stands.in_order(by_kind)), "")
    return by_kind.get(kind, []), kind


def cells_by_solver(frame, dataset, objective, metric):
    """Map each solver to its cells on one data set and objective; raises as `cells` does."""
    by_solver = {}
    for cell in cells(frame, dataset, objective, metric):
        by_solver.setdefault(cell.solver, []).append(cell)
    return by_solver


def last_values(by_solver):
    """Map each solver to the last values of its good cells, a Series by seed."""
    return {
        solver: pd.Series({cell.seed: cell.value[-1] for cell in own if cell.ok}, dtype=float).dropna()
        for solver, own in by_solver.items()
    }


def to_rank(values, metric):
    """Return a table in which the smaller value is the better one: one row a seed, one column a solver."""
    table = pd.DataFrame(values, columns=list(values))
    return -table if METRICS[metric].better == HIGHER else table


def find_baseline(solvers, baseline):
    """Return the only solver that the baseline's name selects; None if it selects none, or several."""
    matches = [] if baseline is None else selected(list(solvers), baseline)
    return matches[0] if len(matches) == 1 else None


def differences(values, baseline, counted):
    """Map each other solver to its paired difference to the baseline, with Holm-adjusted p; none without a baseline."""
    if baseline is None:
        return {}
    compared = {s: paired_comparison(values[s], values[baseline], counted=counted) for s in values if s != baseline}
    adjusted = holm([test.p if test.n >= MIN_SEEDS else 1.0 for test in compared.values()])
    return {
        solver: replace(test, p=float(p) if test.n >= MIN_SEEDS else np.nan)
        for (solver, test), p in zip(compared.items(), adjusted, strict=True)
    }


# ----- text -----

COLUMNS = (
    "rank",
    "solver",
    "mean",
    f"{100 * LEVEL:.0f} % interval",
    "difference, interval, p",
    "n",
    "failures",
    "time (s)",
    "time range",
)


def format_number(x):
    """Three significant digits; "n/a" for what is not finite."""
    if not np.isfinite(x):
        return "n/a"
    digits, _, exponent = f"{x + 0.0:#.3g}".partition("e")  # + 0.0: no "-0.00"
    return f"{digits.rstrip('.')}e{int(exponent)}" if exponent else digits.rstrip(".")


def format_interval(low, high):
    """``[low, high]``; "n/a" without bounds."""
    return f"[{format_number(low)}, {format_number(high)}]" if np.isfinite(low) and np.isfinite(high) else "n/a"


def format_failures(failures):
    """``2 diverged, 1 out of memory``; empty if nothing failed."""
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(failures.items()))


def format_seeds(counts):
    """``n = 10``, or ``n = 8 to 10`` where rows differ."""
    counts = sorted(set(counts))
    if not counts:
        return "no seed"
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"


def format_row(row):
    """Return the cells of a row as text, in the order of `COLUMNS`."""
    test = row.difference
    if test is None or test.n == 0:
        difference = "n/a"
    else:
        bounds = format_interval(test.low, test.high)
        interval_and_p = f"{bounds}, p = {format_number(test.p)}" if test.n > 1 else "on one seed"
        difference = f"{format_number(test.difference)} {interval_and_p}"
    return [
        row.rank,
        stands.marked(row.solver, row.stand),
        format_number(row.mean),
        format_interval(row.low, row.high),
        difference,
        str(row.n),
        format_failures(row.failures),
        stands.marked(format_number(row.time), row.time_stand),
        format_interval(row.time_low, row.time_high),
    ]


def format_mean(row):
    """``0.123 ± 0.004``: the mean and half the width of its interval; the mean alone without one."""
    return format_number(row.mean) + (f" ± {format_number(row.half)}" if np.isfinite(row.half) else "")


def axis(metric):
    """Return the label of an axis that shows a metric."""
    shown = METRICS[metric]
    return f"{shown.label} ({shown.better} is better)"


def protocol(rows, metric, baseline=None, within=None):
    """Say in one line what the table shows and by which rules; ``within`` is the range of the metric."""
    seeds = format_seeds(row.n for row in rows if row.n)
    against = find_baseline(dict.fromkeys(row.solver for row in rows), baseline)
    if against:
        difference = f"difference to {against} paired by seed, p Holm-adjusted over all other solvers; "
    elif baseline:
        difference = f"no difference: the baseline {baseline} is not in this table, or not once; "
    else:
        difference = ""
    shown = METRICS[metric]
    told = (
        f"{shown.label}, {shown.better} is better: mean over seeds ({seeds}), {interval_told(within)}; "
        f"{difference}rank a-b: a tie (paired t tests at 5 %, Holm-adjusted over all pairs, n ≥ {MIN_SEEDS}); "
        "†: failed cells, left out of every mean"
        + (f"; {NO_GUARANTEE}: not ranked" if any(row.rank == NO_GUARANTEE for row in rows) else "")
    )
    return stands.noted(told, rows[0].kinds if rows else ())
