"""Random matrices with the spectra, or the entries, that orthogonalisers find easy or hard."""

import math

import torch

from orthobench.models.checks import check_integer
from orthobench.models.reproducible import reproducible_cpu


def gaussian(shape, count, generator):
    """Matrices of independent standard normal entries.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns).
    count : int
        How many, at least 1.
    generator : torch.Generator
        Of the CPU. The matrices depend on it alone; it moves on.

    Returns
    -------
    list of torch.Tensor
        `count` matrices (rows, columns), made in float64, then rounded to float32.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    return _make(_normal, shape, count, generator)


def with_spectrum(kind, shape, count, generator):
    """Matrices of a kind that orthogonalisers find hard.

    Parameters
    ----------
    kind : {"log_uniform", "power_law", "levy", "low_rank", "row_scaled"}
        With k = min(rows, columns), and N for a matrix of independent standard normal entries:

        - `log_uniform`: U S V^T, U and V Haar, the logarithms of the singular values uniform, those in [1e-3, 1];
        - `power_law`: U S V^T, U and V Haar, the i-th singular value 1 / i;
        - `levy`: independent entries of the symmetric stable law of index 1.5, whose variance is infinite;
        - `low_rank`: N N' / sqrt(r) of rank r = k / 16 (at least 1), plus noise 0.1 N'';
        - `row_scaled`: N with each row multiplied by the exponential of 1.5 times a normal number.
    shape : tuple of int
        (rows, columns).
    count : int
        How many, at least 1.
    generator : torch.Generator
        Of the CPU. The matrices depend on it alone; it moves on.

    Returns
    -------
    list of torch.Tensor
        `count` matrices (rows, columns), made in float64, then rounded to float32.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    """
    if kind not in tuple(KINDS):
        raise ValueError(f"kind is {kind!r}: give one of {', '.join(KINDS)}")
    return _make(KINDS[kind], shape, count, generator)


def _make(make_one, shape, count, generator):
    rows, columns = _check_shape(shape)
    count = check_integer("count", count, 1)
    if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
        raise TypeError(f"generator is {generator!r}: give a torch.Generator of the CPU")
    with reproducible_cpu(), torch.no_grad():
        return [make_one(rows, columns, generator).float() for _ in range(count)]


def _check_shape(shape):
    try:
        rows, columns = shape
    except (TypeError, ValueError):
        raise TypeError(f"shape is {shape!r}: give two integers >= 1, (rows, columns)") from None
    return check_integer("rows", rows, 1), check_integer("columns", columns, 1)


def _normal(rows, columns, generator):
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def _uniform(*shape, generator):
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def _haar(rows, columns, generator):
    """Columns of a Haar orthogonal matrix: QR made unique by a positive diagonal of R (arXiv math-ph/0609050)."""
    q, r = torch.linalg.qr(_normal(rows, columns, generator))
    return q * r.diagonal().sign()


def _from_singular_values(values, rows, columns, generator):
    left = _haar(rows, len(values), generator)
    right = _haar(columns, len(values), generator)
    return left * values @ right.T


def _log_uniform(rows, columns, generator):
    values = 10 ** (-3 * _uniform(min(rows, columns), generator=generator))
    return _from_singular_values(values, rows, columns, generator)


def _power_law(rows, columns, generator):
    values = 1 / torch.arange(1, min(rows, columns) + 1, dtype=torch.float64)
    return _from_singular_values(values, rows, columns, generator)


def _levy(rows, columns, generator, index=1.5):
    """Method of Chambers, Mallows and Stuck, J. Amer. Statist. Assoc. 71 (1976), for the symmetric law."""
    angle = math.pi * (_uniform(rows, columns, generator=generator) - 0.5)
    smallest = 2.0**-54  # below any other value of `rand`: keeps the logarithm of 0 away
    exponential = -_uniform(rows, columns, generator=generator).clamp(min=smallest).log()
    tail = (torch.cos((1 - index) * angle) / exponential) ** ((1 - index) / index)
    return torch.sin(index * angle) / torch.cos(angle) ** (1 / index) * tail


def _low_rank(rows, columns, generator):
    rank = max(1, min(rows, columns) // 16)
    signal = _normal(rows, rank, generator) @ _normal(rank, columns, generator) / math.sqrt(rank)
    return signal + 0.1 * _normal(rows, columns, generator)


def _row_scaled(rows, columns, generator):
    return torch.exp(1.5 * _normal(rows, 1, generator)) * _normal(rows, columns, generator)


KINDS = {
    "log_uniform": _log_uniform,
    "power_law": _power_law,
    "levy": _levy,
    "low_rank": _low_rank,
    "row_scaled": _row_scaled,
}
