"""Lists of matrices with their singular values raised to powers, mixed with their polar factors, and brought to a norm.

``group`` is the dict of options of `SchattenMuon`.
"""

import math

import torch

from ..linalg import orthogonalise, schatten_power
from ..linalg.scaling import at_least_float32, frobenius_normalise
from ..linalg.shapes import map_by_shape


def raise_to_powers(matrices, exponents, group):
    """Raise the singular values of each matrix to its power, in one call for each exponent.

    Unless the norm is "none" they are divided by their root mean square before. For the exponent 0 the orthogonaliser
    does it.
    """
    indices = {}
    for index, exponent in enumerate(exponents):
        indices.setdefault(exponent, []).append(index)
    results = [None] * len(matrices)
    for exponent, chosen in indices.items():
        some = [matrices[index] for index in chosen]
        if exponent == 0:
            some = _orthogonalise(some, group)
        else:
            some = _wide(some) if group["norm"] == "none" else _relative(some)
            if exponent != 1:
                some = schatten_power(some, exponent, group["method"])
        for index, result in zip(chosen, some, strict=True):
            results[index] = result
    return results


def two_directions(matrices, group):
    """Return each matrix, divided by the root mean square of its singular values, with its polar factor."""
    return list(zip(_relative(matrices), _orthogonalise(matrices, group), strict=True))


def precondition(factors, directions, norm):
    """Multiply entry by entry; with the norm "muon" each keeps its Frobenius norm."""
    results = [factor * direction for factor, direction in zip(factors, directions, strict=True)]
    if norm != "muon":
        return results
    units = map_by_shape(frobenius_normalise, results)
    return [unit * torch.linalg.matrix_norm(each.to(unit.dtype)) for unit, each in zip(units, directions, strict=True)]


def pin(directions, exponents, group):
    """Give each direction the norm that "frobenius" or "spectral" asks for."""
    norm, kappa = group["norm"], group["kappa"]
    if norm == "spectral":
        return map_by_shape(_unit_spectral, directions)
    if norm != "frobenius":
        return directions
    units = map_by_shape(frobenius_normalise, directions)
    return [
        X * (math.sqrt(min(X.shape)) * (1 if kappa is None else kappa * math.sqrt(max(X.shape))) ** exponent)
        for X, exponent in zip(units, exponents, strict=True)
    ]


def _orthogonalise(matrices, group):
    cast = [matrix.to(group["dtype"] or matrix.dtype) for matrix in matrices]
    return orthogonalise(cast, group["orthogonaliser"], group["steps"])


def _wide(matrices):
    return [matrix.to(at_least_float32(matrix.dtype)) for matrix in matrices]


def _relative(matrices):
    """Divide each matrix by the root mean square of its singular values."""
    return [X * math.sqrt(min(X.shape)) for X in map_by_shape(frobenius_normalise, _wide(matrices))]


def _unit_spectral(X):
    """Divide by the largest singular value, of which the Gram matrix in float64 loses nothing."""
    D = frobenius_normalise(X.to(at_least_float32(X.dtype))).double()
    largest = torch.linalg.eigvalsh(D @ D.mT)[..., -1:, None].clamp(min=0).sqrt()
    return (D / torch.where(largest > 0, largest, 1)).to(X.dtype)
