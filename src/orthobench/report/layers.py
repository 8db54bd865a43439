"""Real momenta by layer: their spectra, the synthetic regime these resemble, and what two methods make of them."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from orthobench.report.benchmarks import ORTHOGONALISATION
from orthobench.report.cells import check_frame
from orthobench.report.leaderboard import find_baseline, format_interval, format_number, format_seeds
from orthobench.report.matrices import last_matrices
from orthobench.report.names import family, in_order, parameters, regime
from orthobench.report.statistics import (
    MIN_SEEDS,
    Comparison,
    Interval,
    holm,
    interval,
    interval_told,
    paired_comparison,
)

METHODS = ("Turbo-Muon", "Muon")  # the second is the baseline
RULE = (
    "nearest regime: the kind of the synthetic data set of this result whose mean is nearest in the plane of "
    "log10(stable rank / rank) and the tail exponent a of the fit sigma_i ~ i^-a (least squares, both logarithms); "
    "two kinds where the second is less than twice as far; the distance in brackets. It compares singular values "
    "alone: a spectrum like that of row_scaled does not mean that the layer's rows are scaled, and that rescaling helps"
)

_POSSIBLE = ORTHOGONALISATION.range_of("relative_error")


@dataclass(frozen=True)
class Layer:
    """One layer at one training step. None and NaN stand for what the rows do not tell."""

    network: str
    step: str
    layer: str
    shape: tuple  # (rows, columns)
    rank: float  # means over the seeds
    stable_rank: float
    exponent: float
    regime: str  # nearest kind, or the nearest two; empty without synthetic data sets
    distance: float
    n: int  # seeds behind the spectrum
    errors: dict  # Interval by method of METHODS that has figures
    difference: Comparison | None  # p is Holm-adjusted over all layers, NaN below MIN_SEEDS


def layers(frame, objective):
    """List the layers of the momenta of a result, by network, step and position.

    Raises
    ------
    ValueError
        If the frame is not a result of this suite.
    """
    check_frame(frame)
    names = list(frame.loc[frame["objective_name"] == objective, "dataset_name"].unique())
    found = {name: last_matrices(frame, name, objective) for name in names}
    references = [
        (regime(name), np.mean([features(matrix) for matrix in _spectra(found[name])], axis=0))
        for name in names
        if family(name) in ("gaussian", "spectrum") and _spectra(found[name])
    ]
    rows = [
        layer
        for name in in_order([name for name in names if family(name) == "momenta"])
        for layer in _layers(parameters(name), found[name], references)
    ]
    tested = [row.difference.p if _tested(row) else 1.0 for row in rows]
    return [
        replace(row, difference=row.difference and replace(row.difference, p=float(p) if _tested(row) else np.nan))
        for row, p in zip(rows, holm(tested), strict=True)
    ]


def features(matrix):
    """Return log10(stable rank / rank) and the tail exponent of a matrix.

    The k-th of K singular values is taken to have the index 1 + (k - 1) (rank - 1) / (K - 1). One value has no slope:
    its exponent is 0.
    """
    fraction = np.log10(matrix.stable_rank / matrix.rank)
    if len(matrix.sigma_in) == 1:
        return np.array([fraction, 0.0])
    index = np.linspace(1, matrix.rank, len(matrix.sigma_in))
    return np.array([fraction, -np.polyfit(np.log(index), np.log(matrix.sigma_in), 1)[0]])


def nearest_regime(point, references):
    """Return the kind nearest to a point, or the nearest two if the second is less than twice as far; the distance.

    Parameters
    ----------
    references : list of (str, numpy.ndarray)
        A kind may occur more than once: its nearest counts.
    """
    distances = {}
    for kind, centre in references:
        distance = float(np.linalg.norm(point - centre))
        distances[kind] = min(distance, distances.get(kind, np.inf))
    ranked = sorted(distances, key=distances.get)
    if not ranked:
        return "", np.nan
    close = [kind for kind in ranked[:2] if distances[kind] < 2 * distances[ranked[0]]]
    return " or ".join(close or ranked[:1]), distances[ranked[0]]


def _spectra(cells):
    """Return the matrices that have a spectrum, each seed's once: all solvers get the same ones."""
    by_seed = {seed: matrices for _, seed, matrices in cells}
    return [m for matrices in by_seed.values() for m in matrices if _has_spectrum(m)]


def _has_spectrum(matrix):
    return len(matrix.sigma_in) > 0 and (matrix.sigma_in > 0).all() and matrix.stable_rank > 0 and matrix.rank > 0


def _layers(given, cells, references):
    solvers = {solver for solver, _, _ in cells}
    named = {method: find_baseline(solvers, method) for method in METHODS}
    errors = {}  # by layer, then solver, then seed
    for solver, seed, matrices in cells:
        for matrix in matrices:
            errors.setdefault(matrix.name, {}).setdefault(solver, {})[seed] = matrix.relative_error
    spectra = {}
    for matrix in _spectra(cells):
        spectra.setdefault(matrix.name, []).append(matrix)

    for name, own in spectra.items():
        ours = {method: errors[name][solver] for method, solver in named.items() if solver in errors[name]}
        difference = paired_comparison(*(ours[method] for method in METHODS)) if len(ours) == len(METHODS) else None
        point = np.mean([features(matrix) for matrix in own], axis=0)
        kind, distance = nearest_regime(point, references)
        yield Layer(
            network=given.get("network", ""),
            step=given.get("step", ""),
            layer=name,
            shape=(own[0].rows, own[0].columns),
            rank=float(np.mean([matrix.rank for matrix in own])),
            stable_rank=float(np.mean([matrix.stable_rank for matrix in own])),
            exponent=float(point[1]),
            regime=kind,
            distance=distance,
            n=len(own),
            errors={method: interval(values, within=_POSSIBLE) for method, values in ours.items()},
            difference=difference if difference and difference.n else None,
        )


def _tested(row):
    return row.difference is not None and row.difference.n >= MIN_SEEDS


# ----- text -----

COLUMNS = (
    "network",
    "step",
    "layer",
    "shape",
    "rank",
    "stable rank",
    "tail exponent",
    "nearest regime",
    "n",
    *(f"error of {method}" for method in reversed(METHODS)),
    "difference, interval, p",
)


def format_layer(row):
    """Return the cells of a row as text, in the order of `COLUMNS`."""
    test = row.difference
    return [
        row.network,
        row.step,
        row.layer,
        f"{row.shape[0]}x{row.shape[1]}",
        format_number(row.rank),
        format_number(row.stable_rank),
        format_number(row.exponent),
        f"{row.regime} ({format_number(row.distance)})" if row.regime else "n/a",
        str(row.n),
        *(_format_mean(row.errors.get(method)) for method in reversed(METHODS)),
        f"{format_number(test.difference)} {format_interval(test.low, test.high)}, p = {format_number(test.p)}"
        if test
        else "n/a",
    ]


def _format_mean(mean: Interval | None):
    return f"{format_number(mean.estimate)} {format_interval(mean.low, mean.high)}" if mean else "n/a"


def protocol(rows):
    """Say in a few lines what the table shows, by which rules, and how many layers are in which regime."""
    if not rows:
        return "no row of momenta says what became of each matrix"
    regimes = Counter(row.regime or "unknown, for lack of synthetic data sets" for row in rows)
    counted = ", ".join(f"{kind}: {count}" for kind, count in regimes.most_common())
    return (
        f"{len(rows)} layers at a training step; {counted}\n{RULE}\n"
        f"means over seeds ({format_seeds(row.n for row in rows)}), {interval_told(_POSSIBLE, many=True)}; "
        f"difference: {METHODS[0]} - {METHODS[1]}, paired by seed, p Holm-adjusted over the layers, none below n = "
        f"{MIN_SEEDS}"
    )
