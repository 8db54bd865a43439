"""Performance profiles: on what share of the data sets a solver is within a factor of a fixed baseline."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from orthobench.report import stands
from orthobench.report.benchmarks import HIGHER, METRICS
from orthobench.report.leaderboard import cells_by_solver, find_baseline, last_values
from orthobench.report.statistics import LEVEL, median_interval

POINTS = 80  # of a curve


@dataclass(frozen=True)
class Profile:
    """A solver's curve: the share of data sets at each factor, median over seeds with its interval."""

    solver: str
    factors: list
    share: list
    low: list | None  # None where one seed gives no interval
    high: list | None
    datasets: int
    n: int  # seeds
    stand: str = ""  # the kind of process that it is of, where times or memory of several are compared


def profiles(frame, datasets, objective, metric, baseline):
    """Compare solvers over data sets by the ratio of a metric to the baseline's, seed by seed.

    For each seed, a solver's share at a factor t is that of its data sets on which the ratio is at most t. Where
    higher is better the ratio is the baseline's figure over the solver's. A failed cell has an infinite ratio; where
    the baseline has no figure there is none. The reference is fixed: a curve does not depend on who else is in it.

    Parameters
    ----------
    datasets : sequence of str
    baseline : str
        As for `leaderboard.leaderboard`.

    Returns
    -------
    list of Profile
        The largest share at factor 1 first; empty without the baseline, or where a figure of its is not positive. Of
        times and memory, what ran in processes of several kinds is apart, kind by kind.

    Raises
    ------
    ValueError
        For the reasons given in `cells`.

    References
    ----------
    Dolan and Moré, Benchmarking optimization software with performance profiles, Mathematical Programming 91 (2002),
    there with the best solver of each problem in the place of the baseline.
    """
    rows = frame[frame["dataset_name"].isin(list(datasets))]
    parts = stands.apart(rows, METRICS[metric].timed, objective_name=objective)
    return [
        replace(each, stand=kind)
        for kind, part in parts.items()
        for each in _profiles(part, datasets, objective, metric, baseline)
    ]


def _profiles(frame, datasets, objective, metric, baseline):
    ratios = {}
    for dataset in datasets:
        for solver, found in _ratios(frame, dataset, objective, metric, baseline).items():
            ratios.setdefault(solver, {})[dataset] = found
    tables = {solver: pd.DataFrame(found).dropna() for solver, found in ratios.items()}
    finite = np.concatenate([table.to_numpy().ravel() for table in tables.values()] or [np.ones(0)])
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return []
    low, high = min(finite.min(), 1.0), max(finite.max(), 1.0)
    factors = np.unique(np.concatenate([np.geomspace(low, high, POINTS), [1.0]]))
    curves = [_profile(solver, table, factors) for solver, table in tables.items() if len(table)]
    at_one = int(np.flatnonzero(factors == 1.0)[0])
    return sorted(curves, key=lambda curve: (-curve.share[at_one], curve.solver))


def _ratios(frame, dataset, objective, metric, baseline):
    """Map each solver to its ratios on one data set, a Series by seed."""
    found = cells_by_solver(frame, dataset, objective, metric)
    reference = find_baseline(found, baseline)
    values = last_values(found)
    if reference is None or not len(values[reference]) or not (values[reference] > 0).all():
        return {}
    theirs = values[reference]
    ratios = {}
    for solver, own in found.items():
        # Good cells without a figure have no ratio: the metric does not apply.
        lost = pd.Series(np.inf, index=[cell.seed for cell in own if not cell.ok and cell.seed in theirs.index])
        good = values[solver][values[solver].index.isin(theirs.index)]
        if METRICS[metric].better == HIGHER:
            ratio = pd.Series(np.where(good > 0, theirs[good.index] / good.where(good > 0, 1.0), np.inf), good.index)
        else:
            ratio = good / theirs[good.index]
        if len(ratio) + len(lost):
            ratios[solver] = pd.concat([each for each in (ratio, lost) if len(each)])
    return ratios


def _profile(solver, table, factors):
    # A share of the data sets at each factor, one row a seed.
    shares = (table.to_numpy()[:, :, None] <= factors * (1 + 1e-12)).mean(axis=1)
    middle = [median_interval(column) for column in shares.T]
    several = len(table) > 1
    return Profile(
        solver,
        factors.tolist(),
        [each.estimate for each in middle],
        [each.low for each in middle] if several else None,
        [each.high for each in middle] if several else None,
        table.shape[1],
        len(table),
    )


def protocol(metric, baseline):
    """Say in one line what the curves show."""
    ratio = f"{baseline}'s over the solver's" if METRICS[metric].better == HIGHER else f"the solver's over {baseline}'s"
    return (
        f"share of the data sets on which the ratio of {METRICS[metric].label} ({ratio}, seed by seed) is at most the "
        f"factor: median over seeds; band: its {100 * LEVEL:.0f} % interval, the range below 6 seeds; failed cells "
        "never are; the baseline is fixed, so that a curve does not depend on the others"
    )
