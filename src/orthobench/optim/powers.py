"""Lists of matrices with their singular values raised to powers, mixed with their polar factors, and brought to a norm.

``group`` is the dict of options of `SchattenMuon`. The processes of ``process_group``, if there is one, share the work.
"""

import math
from functools import partial

import torch

from ..linalg import Recipe, newton_schulz, orthogonalise, schatten_power
from ..linalg.scaling import at_least_float32, frobenius_normalise
from ..linalg.shapes import map_by_shape
from .sharding import share_work


def orthogonalise_all(matrices, group, process_group=None):
    """Replace each matrix by its polar factor or close to it, by the method and in the type of the options."""
    cast = [matrix.to(group["dtype"] or matrix.dtype) for matrix in matrices]
    method, steps = group["orthogonaliser"], group["steps"]
    if isinstance(method, Recipe):
        return share_work(partial(newton_schulz, recipe=method, steps=steps), cast, process_group)
    return share_work(partial(orthogonalise, orthogonaliser=method, steps=steps), cast, process_group)


def raise_to_powers(matrices, exponents, group, process_group=None):
    """Raise the singular values of each matrix to its power.

    Unless the norm is "none" they are divided by their root mean square before. For the exponent 0 the orthogonaliser
    does it.
    """
    zero = [index for index, exponent in enumerate(exponents) if exponent == 0]
    other = [index for index, exponent in enumerate(exponents) if exponent != 0]
    scaled = _wide if group["norm"] == "none" else _relative
    results = dict(zip(zero, orthogonalise_all([matrices[i] for i in zero], group, process_group), strict=True))
    results |= zip(other, scaled([matrices[i] for i in other]), strict=True)
    # They are dealt out together: with a criterion every matrix may have an exponent of its own.
    powers = [index for index in other if exponents[index] != 1]
    method = partial(_schatten_powers, method=group["method"])
    raised = share_work(method, [results[i] for i in powers], process_group, [exponents[i] for i in powers])
    results |= zip(powers, raised, strict=True)
    return [results[index] for index in range(len(matrices))]


def two_directions(matrices, group, process_group=None):
    """Return each matrix, divided by the root mean square of its singular values, with its polar factor."""
    return list(zip(_relative(matrices), orthogonalise_all(matrices, group, process_group), strict=True))


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


def _schatten_powers(matrices, exponents, method):
    """Raise each to its power, in one call for each exponent."""
    indices = {}
    for index, exponent in enumerate(exponents):
        indices.setdefault(exponent, []).append(index)
    results = [None] * len(matrices)
    for exponent, chosen in indices.items():
        raised = schatten_power([matrices[index] for index in chosen], exponent, method)
        for index, result in zip(chosen, raised, strict=True):
            results[index] = result
    return results


def _wide(matrices):
    return [matrix.to(at_least_float32(matrix.dtype)) for matrix in matrices]


def _relative(matrices):
    """Divide each matrix by the root mean square of its singular values."""
    return [X * math.sqrt(min(X.shape)) for X in map_by_shape(frobenius_normalise, _wide(matrices))]


def _unit_spectral(X):
    """Divide by the largest singular value, of which the Gram matrix in float64 loses nothing."""
    # LAPACK refuses a whole batch if one of its matrices has a NaN.
    finite = X.isfinite().all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
    D = frobenius_normalise(torch.where(finite, X, 0).to(at_least_float32(X.dtype))).double()
    largest = torch.linalg.eigvalsh(D @ D.mT)[..., -1:, None].clamp(min=0).sqrt()
    return torch.where(finite, (D / torch.where(largest > 0, largest, 1)).to(X.dtype), torch.nan)
