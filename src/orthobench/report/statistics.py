"""The statistics behind every table and figure: intervals, comparisons paired by seed, ranks with ties."""

import functools
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import special, stats

LEVEL = 0.95
MIN_SEEDS = 8  # two solvers are never called different on fewer common seeds
_ROUNDING = 4 * np.finfo(float).eps
ANYWHERE = (-np.inf, np.inf)


@dataclass(frozen=True)
class Interval:
    """An estimate from ``n`` values and the interval around it."""

    estimate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """The mean of a - b over the ``n`` common seeds, its interval, and the two-sided p-value of "no difference"."""

    difference: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True)
class Gap:
    """The mean of one - other over the ``n`` common seeds, and whether it separates the two solvers."""

    one: str
    other: str
    difference: float
    p: float  # Holm-adjusted over all pairs; 1 below MIN_SEEDS common seeds
    n: int
    separated: bool


@dataclass(frozen=True)
class Rank:
    """The best and the worst rank a solver can have; None where all its cells failed."""

    best: int | None
    worst: int | None
    n: int
    failed: int

    def __str__(self):
        if self.best is None:
            return "failed"
        mark = "†" if self.failed else ""  # ranked on the seeds that are left
        return (f"{self.best}" if self.best == self.worst else f"{self.best}-{self.worst}") + mark


def _finite(values):
    is_one = isinstance(values, pd.Series) and values.dtype == float  # another one takes as long as a comparison
    series = values if is_one else pd.Series(values, dtype=float)
    if np.isfinite(series.to_numpy()).all():
        return series
    bad = series[~np.isfinite(series)]
    named = ", ".join(f"{key}: {value}" for key, value in bad.items())
    raise ValueError(f"{len(bad)} of {len(series)} values are not finite ({named}); drop the failed cells first.")


def _array(values):
    """Return the values as an array, finite; a series is made only to name those that are not."""
    x = np.asarray(list(values.values()) if isinstance(values, dict) else values, dtype=float)
    return x if np.isfinite(x).all() else _finite(values).to_numpy()


def interval(values, level=LEVEL, within=ANYWHERE):
    """Mean and two-sided Student t interval, cut at the numbers that a mean can be.

    One value has no interval: its bounds are NaN. Equal values give a degenerate interval.

    Parameters
    ----------
    values : sequence or mapping of float
    level : float
    within : tuple of float
        The least and the greatest value that is possible, see `Benchmark.range_of`: Student's t knows neither. Only
        the interval that is shown is cut: tests do not use it.

    Raises
    ------
    ValueError
        If there is no value, or if one is not finite (the message names it).
    """
    x = _array(values)
    if not len(x):
        raise ValueError("An interval needs at least one value, got none.")
    if len(x) == 1:
        return Interval(float(x[0]), np.nan, np.nan, 1)
    if np.ptp(x) == 0:  # exact: the mean of equal values may differ from them in the last bit
        return Interval(float(x[0]), float(x[0]), float(x[0]), len(x))
    half = quantile(level, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    mean, (least, most) = float(x.mean()), within
    # Values may be outside by rounding: the mean stays inside of its interval.
    low, high = max(mean - half, min(least, mean)), min(mean + half, max(most, mean))
    return Interval(mean, float(low), float(high), len(x))


def interval_told(within=None, many=False):
    """Say what `interval` returns: ``95 % Student t interval, cut at 0 and 1``; without a range, that there is one."""
    ends = ["what is possible"] if within is None else [f"{end:g}" for end in within if np.isfinite(end)]
    cut = f", cut at {' and '.join(ends)}" if ends else ""
    return f"{100 * LEVEL:.0f} % Student t interval{'s' * many}{cut}"


@functools.cache
def quantile(level, freedom):
    """Return the half-width of Student's two-sided interval, in standard errors."""
    return stats.t.ppf((1 + level) / 2, freedom)


def median_interval(values, level=LEVEL):
    """Median and its distribution-free interval between two order statistics.

    It assumes no distribution, and stays positive for positive values: it can be drawn on a logarithmic axis. Below
    6 values no such interval reaches 95 %: the bounds are then the range, and one value has none (NaN).

    Raises
    ------
    ValueError
        As for `interval`.

    References
    ----------
    David and Nagaraja, Order Statistics, 3rd edition (2003), section 7.1.
    """
    x = np.sort(_array(values))
    if not len(x):
        raise ValueError("An interval needs at least one value, got none.")
    if len(x) == 1:
        return Interval(float(x[0]), np.nan, np.nan, 1)
    k = _depth(len(x), level)
    return Interval(float(np.median(x)), float(x[k - 1]), float(x[-k]), len(x))


@functools.cache
def _depth(n, level):
    """Return the largest k with P(Binomial(n, 1/2) < k) <= (1 - level) / 2; never less than the range's, 1."""
    k = np.count_nonzero(stats.binom.cdf(np.arange(n // 2), n, 0.5) <= (1 - level) / 2)
    return max(k, 1)


def holm(p_values):
    """Holm's step-down adjustment of p-values, in their order.

    Raises
    ------
    ValueError
        If a p-value is NaN or outside [0, 1].

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    p = np.asarray(p_values, dtype=float)
    valid = (p >= 0) & (p <= 1)
    if not valid.all():
        raise ValueError(f"p-values lie in [0, 1], got {p[~valid].tolist()}; count an untested one as 1.")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]))
    return adjusted


def paired_comparison(a, b, level=LEVEL, counted=False):
    """Compare two solvers on the seeds they share, by a paired t test.

    Differences within the rounding of the two values count as zero. All zero: p = 1. All equal and not zero: a
    degenerate interval, and the p-value of the sign test, 2^(1 - n), because equal differences say nothing of a spread
    that is finer than the values are. One common seed: no interval and no test (NaN). None: all NaN.

    Parameters
    ----------
    a, b : mapping or pandas.Series
        The value of each seed. Seeds that only one of the two has are left out.
    counted : bool
        Whether the values are counts, such as bytes: where all their differences are equal, chance has no part, p = 0.

    Raises
    ------
    ValueError
        If a value is not finite or a seed occurs twice.
    """
    a, b = _finite(a), _finite(b)
    for series in (a, b):
        if not series.index.is_unique:
            raise ValueError(f"Seeds occur twice: {sorted(set(series.index[series.index.duplicated()]))}.")
    if not a.index.equals(b.index):
        seeds = a.index.intersection(b.index).sort_values()
        a, b = a.loc[seeds], b.loc[seeds]
    return _compare(a.to_numpy()[None], b.to_numpy()[None], level, counted)[0]


def _compare(a, b, level, counted):
    """Return the comparison of each row of two arrays (comparisons, common seeds) of finite values."""
    count, n = a.shape
    if n == 0:
        return [Comparison(np.nan, np.nan, np.nan, np.nan, 0)] * count
    rounding = _ROUNDING * np.maximum(np.abs(a), np.abs(b))
    d = np.where(np.abs(a - b) <= rounding, 0.0, a - b)
    same = np.ptp(d, axis=1) <= rounding.max(axis=1)
    d[same] = d[same, :1]
    same = np.ptp(d, axis=1) == 0
    mean = np.where(same, d[:, 0], d.mean(axis=1))  # exact: the mean of equal values may differ in the last bit
    if n == 1:
        half, p = np.full((2, count), np.nan)
    else:
        error = np.where(same, 0.0, d.std(axis=1, ddof=1) / np.sqrt(n))
        half = quantile(level, n - 1) * error
        p = 2 * special.stdtr(n - 1, -np.abs(mean) / np.where(same, 1.0, error))
        p = np.where(same, np.where(mean == 0, 1.0, 0.0 if counted else 2.0 ** (1 - n)), p)
    columns = (mean, mean - half, mean + half, p)
    return [Comparison(*values, n) for values in zip(*(each.tolist() for each in columns), strict=True)]


def gaps(table, alpha=0.05, counted=False):
    """Compare all pairs of solvers, and say which can be separated.

    Two solvers are separated if the paired t test on their common seeds, Holm-adjusted over all pairs, has p <= alpha,
    and they share at least `MIN_SEEDS` seeds; pairs with fewer count in the adjustment with p = 1.

    Parameters
    ----------
    table : pandas.DataFrame
        As for `rank_with_ties`.
    counted : bool
        As for `paired_comparison`.

    Returns
    -------
    list of Gap
        Of the solvers that have values.
    """
    values = {solver: table[solver].to_numpy(dtype=float) for solver in table}
    there = {solver: ~np.isnan(own) for solver, own in values.items()}
    for solver in table:
        _finite(table[solver].dropna())
    pairs = list(combinations([solver for solver in table if there[solver].any()], 2))
    alike = {}  # pairs by the seeds that they share
    for pair in pairs:
        alike.setdefault((there[pair[0]] & there[pair[1]]).tobytes(), []).append(pair)
    found = {}
    for shared, group in alike.items():
        seeds = np.frombuffer(shared, dtype=bool)
        one, other = (np.stack([values[pair[side]][seeds] for pair in group]) for side in (0, 1))
        found |= zip(group, _compare(one, other, LEVEL, counted), strict=True)
    tests = [found[pair] for pair in pairs]
    adjusted = holm([test.p if test.n >= MIN_SEEDS else 1.0 for test in tests])
    return [
        Gap(one, other, test.difference, float(p), test.n, bool(p <= alpha and test.difference != 0))
        for (one, other), test, p in zip(pairs, tests, adjusted, strict=True)
    ]


def rank_with_ties(table, alpha=0.05, counted=False):
    """Rank solvers, smaller values first, and show as ties those that can't be separated.

    `gaps` says which pairs are separated. The best rank of a solver is 1 + the number of solvers separated above it,
    the worst is the number of ranked solvers minus those separated below it. All the ranks that are shown hold
    together with probability 1 - alpha.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a seed, one column a solver. NaN marks a failed cell: it is left out and counted.
    counted : bool
        As for `paired_comparison`.

    Returns
    -------
    dict
        The `Rank` of each solver. A solver whose cells all failed has none and does not count for the others.

    Raises
    ------
    ValueError
        If a value is infinite, or a seed or a solver occurs twice.

    References
    ----------
    Mogstad, Romano, Shaikh and Wilhelm, Inference for Ranks with Applications to Mobility across Neighbourhoods and
    Academic Achievement across Countries, Review of Economic Studies 91 (2024).
    """
    if not (table.index.is_unique and table.columns.is_unique):
        raise ValueError("A table to rank has each seed and each solver once.")
    found = table.notna().sum().astype(int).to_dict()
    ranked = [solver for solver, n in found.items() if n]
    above, below = dict.fromkeys(ranked, 0), dict.fromkeys(ranked, 0)
    # Fewer seeds separate nothing; an infinite value is an error all the same.
    few = max(found.values(), default=0) < MIN_SEEDS and not np.isinf(table.to_numpy(dtype=float)).any()
    for gap in [] if few else gaps(table, alpha, counted):
        if gap.separated:
            better, worse = (gap.one, gap.other) if gap.difference < 0 else (gap.other, gap.one)
            above[worse] += 1
            below[better] += 1
    return {
        solver: Rank(
            best=1 + above[solver] if solver in above else None,
            worst=len(ranked) - below[solver] if solver in below else None,
            n=n,
            failed=len(table) - n,
        )
        for solver, n in found.items()
    }
