"""Which exponent e of the direction U S^e V^T decreases the quadratic model of the loss in `surrogate` most.

A criterion is the decrease by the best step along that direction, as a function of e: the exact one ("tightness"), or a
lower bound on it that needs no more of the layer's inputs than their Schatten norms ("bound", "momentum").
"""

from functools import cached_property, partial
from typing import NamedTuple

import torch

from ..linalg.scaling import at_least_float32
from ..linalg.schatten import EXPONENTS, check_exponent
from .surrogate import check_finite, svd

GRID = 65
# Values that differ by less are ties: of these the lowest exponent is taken, not the one that rounding favours.
TIE = 1e-12
# What rounding leaves of the zero eigenvalues of C, in units of eps, where there are few of them and many inputs.
LEAST_NOISE = 32


class BestExponent(NamedTuple):
    """An exponent, and the decrease that the criterion predicts with it; both float64, of the batch's shape."""

    exponent: torch.Tensor
    decrease: torch.Tensor


class PowerDirections:
    """The directions U S^e V^T of a matrix M = U S V^T, and what a step along them does to the surrogate.

    Parameters
    ----------
    M : Tensor (..., m, n)
        The gradient, or the momentum that stands for it. Singular values up to max(m, n) eps sigma_1 count as zero,
        with the eps of float32 or that of a wider dtype.
    C : Tensor (..., n, n)
        Second moment of the layer's inputs: symmetric, positive semi-definite. Of its eigenvalues, and of its
        curvatures along the directions, the least count as zero as long as their sum is at most max(n, 32) eps
        lambda_1, with the eps of float32 or that of a wider dtype: that is rounding noise, to which the criteria would
        else listen where all exponents are equally good (for one input, or equal ones).

    Attributes
    ----------
    sigma : Tensor (..., min(m, n))
        Singular values, descending.

    Raises
    ------
    ValueError
        If the shapes don't fit, or an entry isn't finite.
    """

    def __init__(self, M, C):
        check_finite("M", M)
        check_finite("C", C, (M.shape[-1], M.shape[-1]))
        self._U, self.sigma, self._Vh = svd(M)
        self._C = C.detach().double()
        self._noise = max(C.shape[-1], LEAST_NOISE) * torch.finfo(at_least_float32(C.dtype)).eps
        # U S^e V^T and c U S^e V^T predict the same, and this neither over- nor underflows.
        largest = self.sigma[..., :1]
        self._relative = self.sigma / torch.where(largest > 0, largest, 1)

    def alignment(self, G):
        """Return u_i^T G v_i for each singular pair of M, (..., min(m, n)), as sigma; 0 where that is 0."""
        check_finite("G", G, (self._U.shape[-2], self._Vh.shape[-1]))
        products = ((self._U.mT @ G.detach().double()) * self._Vh).sum(-1)
        return torch.where(self.sigma > 0, products, 0)

    def decrease(self, alignment, exponents):
        """Return the decrease by the best step along U S^e V^T, exactly (the "tightness" criterion).

        Parameters
        ----------
        alignment : Tensor (..., min(m, n))
            That of the gradient, or an average of several.
        exponents : Tensor (count,) or (..., count)

        Returns
        -------
        Tensor (..., count)
            0 where <G, D> <= 0: D is no direction of descent. Infinity where the surrogate is linear along D.
        """
        return _decrease(
            self._inner(alignment, exponents), (self._powers(2 * exponents) * self.curvatures.unsqueeze(-2)).sum(-1)
        )

    def guaranteed_decrease(self, alignment, exponents):
        """Return what the best step along U S^e V^T decreases at least, by Hoelder's inequality ("bound", "momentum").

        ||D A||_F <= ||D||_(p+1) ||A||_k with p = 1/e and k = 2 (p+1) / (p-1), whence, r = k / 2 = (1+e) / (1-e)::

            <D, D C> <= ||C||_r (sum_i s_i^(1+e))^(2e / (1+e))

        Parameters, returns: see `decrease`; the exponents are from 0 to 1.
        """
        sums = self._powers(1 + exponents).sum(-1) ** (2 * exponents / (1 + exponents))
        return _decrease(self._inner(alignment, exponents), self._moment_norm(exponents) * sums)

    def _inner(self, alignment, exponents):
        """<G, D> = sum_i s_i^e u_i^T G v_i."""
        return (self._powers(exponents) * alignment.unsqueeze(-2)).sum(-1)

    def _powers(self, exponents):
        """(..., count, rank): (s_i / s_1)^e, 0 for s_i = 0 whatever e."""
        s = self._relative.unsqueeze(-2)
        return torch.where(s > 0, s ** exponents.unsqueeze(-1), 0)

    @cached_property
    def curvatures(self):
        """v_i^T C v_i = ||A^T v_i||^2 / n, (..., min(m, n)); an average of several may be set instead."""
        curvatures = ((self._Vh @ self._C) * self._Vh).sum(-1)
        # The mean of the eigenvalues weighted by themselves: the largest where there is one alone, and never above it.
        trace = self._C.diagonal(dim1=-2, dim2=-1).sum(-1).unsqueeze(-1)
        mean = torch.where(trace > 0, self._C.square().sum((-2, -1)).unsqueeze(-1) / trace, 0)
        return _without_least(curvatures, self._noise * mean)

    def _moment_norm(self, exponents):
        """||C||_r, r = (1+e) / (1-e); r is infinite for e = 1, and the limit is then what these formulas give."""
        largest = self._moment_eigenvalues[..., -1:]
        relative = (self._moment_eigenvalues / torch.where(largest > 0, largest, 1)).unsqueeze(-2)
        r = (1 + exponents) / (1 - exponents)
        return largest * (relative ** r.unsqueeze(-1)).sum(-1) ** (1 / r)

    @cached_property
    def _moment_eigenvalues(self):
        eigenvalues = torch.linalg.eigvalsh(self._C)
        return _without_least(eigenvalues, self._noise * eigenvalues[..., -1:])


def bound_exponent(G, C, low=0.0, high=1.0):
    """Choose e by Hoelder's bound: the one that maximises ||G||_(1+e)^2 / (2 ||C||_r), r = (1+e) / (1-e).

    As ||C||_r = ||A||_(2r)^2 / n, that maximises ||G||_(1+1/p) / ||A||_(2(p+1)/(p-1)) for p = 1/e, which is
    ||G||_F / ||A||_op for e = 1 and ||G||_* / ||A||_F for e = 0.

    Parameters
    ----------
    G : Tensor (..., m, n)
        Gradient.
    C : Tensor (..., n, n)
        Second moment of the layer's inputs.
    low, high : float
        The range of e, within [0, 1]; both ends are tried exactly.

    Returns
    -------
    BestExponent
        e and the decrease that U S^e V^T guarantees; ``low`` and 0 for a zero gradient.

    Raises
    ------
    TypeError, ValueError
        If the range is not within [0, 1], the shapes don't fit, or an entry isn't finite.

    References
    ----------
    "From SGD to Muon", arXiv:2605.19781. Its ends alone: Davis & Drusvyatskiy (2025), arXiv:2512.04299.
    """
    directions = PowerDirections(G, C)
    return best_exponent("bound", directions, directions.sigma, low, high)


def momentum_exponent(G, M, C, low=0.0, high=1.0):
    """Choose e for the directions U S^e V^T of the momentum M = U S V^T, by Hoelder's bound on their curvature.

    It maximises (sum_i s_i^e u_i^T G v_i)^2 / (2 ||C||_r (sum_i s_i^(1+e))^(2e / (1+e))): `bound_exponent` if M = G.

    Parameters
    ----------
    G, M : Tensor (..., m, n)
        Gradient and momentum.
    C, low, high
        See `bound_exponent`.

    Returns
    -------
    BestExponent
        e and the decrease that is guaranteed; ``low`` and 0 if <G, U S^e V^T> <= 0 for every e.

    Raises
    ------
    TypeError, ValueError
        See `bound_exponent`.
    """
    directions = PowerDirections(M, C)
    return best_exponent("momentum", directions, directions.alignment(G), low, high)


def tightness_exponent(G, M, C, low=0.0, high=1.0):
    """Choose e for the directions D = U S^e V^T of the momentum M = U S V^T, by the exact decrease.

    It maximises <G, D>^2 / (2 <D, D C>) = (sum_i s_i^e u_i^T G v_i)^2 / (2 sum_i s_i^(2e) v_i^T C v_i).

    Parameters
    ----------
    G, M : Tensor (..., m, n)
        Gradient and momentum; the same for the best direction of the gradient itself.
    C
        See `bound_exponent`.
    low, high : float
        The range of e, within [-1/2, 1].

    Returns
    -------
    BestExponent
        e and the decrease; ``low`` and 0 if <G, D> <= 0 for every e.

    Raises
    ------
    TypeError, ValueError
        See `bound_exponent`.
    """
    directions = PowerDirections(M, C)
    return best_exponent("tightness", directions, directions.alignment(G), low, high)


def best_exponent(criterion, directions, alignment, low=0.0, high=1.0, among=None):
    """Choose the exponent that maximises a criterion over a range, or among some.

    Parameters
    ----------
    criterion : {"bound", "momentum", "tightness"}
        "tightness": `PowerDirections.decrease`; the other two: `PowerDirections.guaranteed_decrease`.
    directions : PowerDirections
    alignment : Tensor (..., min(m, n))
        For "bound" the singular values themselves, ``directions.sigma``.
    low, high : float
        The range. It is searched on a grid of 65 exponents, on a second one around the best of these, and by a
        parabola around the best of those. The decrease falls short of the largest by less than 1e-9 of it.
    among : sequence of float, optional
        Only these, as far as they are in the range.

    Returns
    -------
    BestExponent
        The lowest, if exponents differ by less than 1e-12 of the decrease (if M has rank 1, all do as well).
    """
    low, high = check_exponent_range(criterion, low, high)
    curve = partial(_curve(criterion, directions), alignment)
    points = torch.linspace(0, 1, GRID, dtype=torch.float64, device=alignment.device)
    if among is not None:
        allowed = [e for e in sorted(among) if low <= e <= high]
        if not allowed:
            raise ValueError(f"none of the exponents {tuple(among)} is from {low} to {high}; widen the range.")
        return _first_best(torch.tensor(allowed, dtype=torch.float64, device=alignment.device), curve)
    coarse = _first_best((low + (high - low) * points).clamp(max=high), curve)
    width = (high - low) / (GRID - 1)
    around = (coarse.exponent.unsqueeze(-1) + width * (2 * points - 1)).clamp(low, high)
    fine = _first_best(around, curve)
    vertex = _parabola(fine.exponent.unsqueeze(-1), 2 * width / (GRID - 1), low, high, curve)
    return _first_best(torch.stack([fine.exponent, vertex], -1), curve)


def check_exponent_range(criterion, low, high):
    """Return a range of exponents as two floats, or raise ValueError unless it suits the criterion."""
    lowest = EXPONENTS[0] if criterion == "tightness" else 0
    low, high = check_exponent(low), check_exponent(high)
    if not lowest <= low <= high:
        raise ValueError(
            f"the range of exponents must be within [{lowest}, 1] for the criterion {criterion!r}, low end first, got "
            f"{low} to {high}; 0 to 1 is from Muon to SGD."
        )
    return low, high


def _curve(criterion, directions):
    curves = {
        "bound": directions.guaranteed_decrease,
        "momentum": directions.guaranteed_decrease,
        "tightness": directions.decrease,
    }
    if criterion not in tuple(curves):
        raise ValueError(f"criterion must be one of {', '.join(map(repr, curves))}, got {criterion!r}.")
    return curves[criterion]


def _first_best(exponents, curve):
    """The best of the exponents (count,) or (..., count); the first of those that tie."""
    values = curve(exponents)
    best = (values >= values.amax(-1, keepdim=True) * (1 - TIE)).int().argmax(-1, keepdim=True)
    return BestExponent(*(each.expand_as(values).gather(-1, best).squeeze(-1) for each in (exponents, values)))


def _parabola(middle, h, low, high, curve):
    """The exponent at the vertex of the parabola through middle - h, middle, middle + h, or middle if there is none."""
    values = curve(torch.cat([(middle - h).clamp(min=low), middle, (middle + h).clamp(max=high)], -1))
    left, centre, right = values.unbind(-1)
    shift = (0.5 * (left - right) / (left - 2 * centre + right)).nan_to_num(0, 0, 0).clamp(-1, 1)
    return (middle.squeeze(-1) + h * shift).clamp(low, high)


def _without_least(values, limit):
    """Set negative values to 0, and the least of the others as long as their sum is at most the limit (..., 1)."""
    ascending, order = values.clamp(min=0).sort(-1)
    return torch.empty_like(values).scatter_(-1, order, torch.where(ascending.cumsum(-1) > limit, ascending, 0))


def _decrease(inner, curvature):
    return torch.where(inner > 0, inner**2 / (2 * curvature), 0)
