"""How close a matrix is to the polar factor of another, or to U S^e V^T, in float64."""

import math
from typing import NamedTuple

import torch


class ExactFactors(NamedTuple):
    """The singular triplets of a matrix (m, n) above its numerical rank r, in float64.

    Attributes
    ----------
    left : torch.Tensor
        U_r, (m, r).
    singular_values : torch.Tensor
        Decreasing, (r,).
    right : torch.Tensor
        V_r^T, (r, n).
    """

    left: torch.Tensor
    singular_values: torch.Tensor
    right: torch.Tensor

    @property
    def polar(self):
        """The polar factor U_r V_r^T, (m, n)."""
        return self.left @ self.right

    def power(self, exponent):
        """Return U_r S_r^exponent V_r^T, (m, n)."""
        return self.left * self.singular_values**exponent @ self.right


def exact_factors(matrix, rank=None):
    """Return the singular triplets of a matrix by SVD in float64.

    Singular values up to ``max(m, n) * eps * sigma_1`` are rounding errors of the type the matrix was made in (the rule
    of ``torch.linalg.matrix_rank``): their directions mean nothing, and are left out.

    Parameters
    ----------
    matrix : torch.Tensor
        (m, n); eps is that of its dtype.
    rank : int, optional
        Keep that many triplets instead.

    Returns
    -------
    ExactFactors

    Raises
    ------
    ValueError
        If the tensor isn't a matrix or isn't finite.
    """
    if matrix.ndim != 2 or not torch.isfinite(matrix).all():
        raise ValueError(f"expected one finite matrix (m, n), got a tensor of shape {tuple(matrix.shape)}")
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    if rank is None:
        threshold = max(matrix.shape) * torch.finfo(matrix.dtype).eps * values[:1]
        rank = int((values > threshold).sum())
    return ExactFactors(left[:, :rank].contiguous(), values[:rank].contiguous(), right[:rank].contiguous())


def spectral_errors(output, factors, exponent=0, limit=None):
    """Return how far ``output`` is from U_r S_r^e V_r^T, for the triplets U_r, S_r, V_r^T that ``factors`` hold.

    Parameters
    ----------
    output : torch.Tensor
        X, (m, n), in any floating-point type.
    factors : ExactFactors
        Of the matrix G that was orthogonalised, or whose power was taken.
    exponent : float
        e, from -1/2 to 1; 0 is the polar factor.
    limit : ExactFactors, optional
        Of the rescaled matrix, for a method that preconditions: its iteration converges to that matrix's power.

    Returns
    -------
    dict of float
        ``relative_error``: ||X - U_r S_r^e V_r^T||_F / ||S_r^e||_F; the divisor is sqrt(r) for e = 0.
        ``orthogonality_error``: ||diag(s_i^2 - 1)||_F / sqrt(r) over X's r largest singular values s_i; NaN unless
        e = 0.
        ``sigma_min``, ``sigma_median``, ``sigma_max``: of these singular values.
        ``lmo_gap``: 1 - <G, X> / (||G||_(1+e) ||X||_(1+1/e)), in Schatten norms: how far X is from solving the linear
        minimisation over the ball of its norm; 1 if X is zero, NaN if e < 0. See Notes.
        ``own_limit_error``: ||X - L||_F / ||S_r^e||_F for the limit L; NaN without one.
        ``limit_bias``: ||L - U_r S_r^e V_r^T||_F / ||S_r^e||_F; NaN without one.
        ``rank``: r.

    Notes
    -----
    The orders q = 1 + e and p = 1 + 1/e are conjugate, 1/p + 1/q = 1, so |<G, X>| <= sum_i g_i x_i <= ||G||_q ||X||_p
    for the singular values g_i and x_i (von Neumann, then Hoelder): the gap is in [0, 2]. It is 0 where both are
    equalities: X has the singular vectors of G, and x_i^p is proportional to g_i^q, so x_i to g_i^(q/p) = g_i^e. That
    is X = c U_r S_r^e V_r^T, whatever c > 0. With e = 0 the norms are the nuclear and the spectral one, and X may add
    to that what is orthogonal to both sides of G, if it is no longer (Bernstein and Newhouse, "Old optimizer, new
    norm", 2024, proposition 5); with e = 1 the gap is 1 minus the cosine. With e < 0 the order p is negative: there is
    no such norm. G counts up to its rank r here.
    """
    output = output.detach().to("cpu", torch.float64)
    target = factors.power(exponent)
    scale = _schatten_norm(factors.singular_values**exponent, 2) or 1.0

    def distance(first, second):
        return float(torch.linalg.norm(first - second)) / scale

    values = torch.linalg.svdvals(output)
    rank = len(factors.singular_values)
    kept = values[:rank] if rank else values.new_zeros(1)
    defect = float(torch.linalg.norm(kept.square() - 1)) / rank**0.5 if rank else 0.0
    return {
        "relative_error": distance(output, target),
        "orthogonality_error": defect if exponent == 0 else math.nan,
        "sigma_min": float(kept[-1]),
        "sigma_median": float(kept.median()),
        "sigma_max": float(values[0]),
        "lmo_gap": _lmo_gap(output, values, factors, exponent),
        "own_limit_error": math.nan if limit is None else distance(output, limit.power(exponent)),
        "limit_bias": math.nan if limit is None else distance(limit.power(exponent), target),
        "rank": float(rank),
    }


def _lmo_gap(output, values, factors, exponent):
    """Return 1 - <G, X> / (||G||_(1+e) ||X||_(1+1/e)) for X = ``output``, whose singular values are ``values``."""
    if exponent < 0:
        return math.nan
    order = 1 + 1 / exponent if exponent > 0 else math.inf
    bound = _schatten_norm(factors.singular_values, 1 + exponent) * _schatten_norm(values, order)
    gain = torch.einsum("mr,r,rn,mn->", factors.left, factors.singular_values, factors.right, output)
    return 1 - float(gain) / bound if bound > 0 else 1.0


def _schatten_norm(values, order):
    """Return the norm of that order of singular values; divided by the largest first, as high powers underflow."""
    largest = float(values.max()) if len(values) else 0.0
    return largest * float(torch.linalg.vector_norm(values / largest, order)) if largest > 0 else 0.0


def spectrum_map(output, factors, points=16):
    """Return what became of the singular values: those of the matrix against the gains u_i^T X v_i of ``output``.

    Parameters
    ----------
    output : torch.Tensor
        X, (m, n), in any floating-point type.
    factors : ExactFactors
        Of the matrix that was orthogonalised.
    points : int
        At most that many, evenly spaced among the r singular values, the first and the last included.

    Returns
    -------
    dict
        ``rank``, ``stable_rank`` (||G||_F^2 / sigma_1^2 over the r triplets; 0 for the zero matrix), ``sigma_in``
        (divided by sigma_1, decreasing) and ``sigma_out``, lists of as many floats of four digits.
    """
    values = factors.singular_values
    rank = len(values)
    if rank == 0:
        return {"rank": 0, "stable_rank": 0.0, "sigma_in": [], "sigma_out": []}
    indices = torch.linspace(0, rank - 1, min(points, rank)).round().long()
    gains = ((factors.left.mT @ output.detach().to("cpu", torch.float64)) * factors.right).sum(-1)
    return {
        "rank": rank,
        "stable_rank": _four_digits(values.square().sum() / values[0].square()),
        "sigma_in": [_four_digits(value) for value in values[indices] / values[0]],
        "sigma_out": [_four_digits(gain) for gain in gains[indices]],
    }


def _four_digits(value):
    return float(f"{float(value):.4g}")


# How the metrics of several matrices become one figure: the worst case for the ends of the spectrum, else the mean.
_SUMMARIES = {"sigma_min": min, "sigma_max": max}


def summarise(errors):
    """Return one dict for a set of matrices: the mean of each metric, and the extremes for the ends of the spectrum.

    Parameters
    ----------
    errors : list of dict of float
        One from :func:`spectral_errors` for each matrix.

    Returns
    -------
    dict of float
    """
    return {name: _SUMMARIES.get(name, _mean)([each[name] for each in errors]) for name in errors[0]}


def _mean(values):
    return sum(values) / len(values)
