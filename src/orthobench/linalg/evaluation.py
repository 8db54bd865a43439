"""How close a matrix is to the polar factor of another, in float64."""

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


def polar_errors(output, factors, limit=None):
    """Return how far ``output`` is from the polar factor U_r V_r^T that ``factors`` describe.

    Parameters
    ----------
    output : torch.Tensor
        X, (m, n), in any floating-point type.
    factors : ExactFactors
        Of the matrix G that was orthogonalised.
    limit : ExactFactors, optional
        Of the rescaled matrix, for a method that preconditions: its iteration converges to that matrix's polar factor.

    Returns
    -------
    dict of float
        ``relative_error``: ||X - U_r V_r^T||_F / sqrt(r).
        ``orthogonality_error``: ||diag(s_i^2 - 1)||_F / sqrt(r) over X's r largest singular values s_i.
        ``sigma_min``, ``sigma_median``, ``sigma_max``: of these singular values.
        ``lmo_gap``: 1 - <G, X> / (||G||_* sigma_max(X)): how far X is from solving the linear minimisation over the
        spectral ball (Bernstein and Newhouse, "Old optimizer, new norm", 2024, proposition 5); 1 if X is zero.
        ``own_limit_error``: ||X - L||_F / sqrt(r) for the limit L; NaN without one.
        ``limit_bias``: ||L - U_r V_r^T||_F / sqrt(r); NaN without one.
        ``rank``: r.
    """
    output = output.detach().to("cpu", torch.float64)
    rank = len(factors.singular_values)
    scale = max(rank, 1) ** 0.5
    values = torch.linalg.svdvals(output)
    kept = values[:rank] if rank else values.new_zeros(1)
    gain = torch.einsum("mr,r,rn,mn->", factors.left, factors.singular_values, factors.right, output)
    bound = factors.singular_values.sum() * values[0]
    polar = factors.polar
    return {
        "relative_error": float(torch.linalg.norm(output - polar) / scale),
        "orthogonality_error": float(torch.linalg.norm(kept.square() - 1) / scale) if rank else 0.0,
        "sigma_min": float(kept[-1]),
        "sigma_median": float(kept.median()),
        "sigma_max": float(values[0]),
        "lmo_gap": float(1 - gain / bound) if bound > 0 else 1.0,
        "own_limit_error": float("nan") if limit is None else float(torch.linalg.norm(output - limit.polar) / scale),
        "limit_bias": float("nan") if limit is None else float(torch.linalg.norm(limit.polar - polar) / scale),
        "rank": float(rank),
    }


# How the metrics of several matrices become one figure: the worst case for the ends of the spectrum, else the mean.
_SUMMARIES = {"sigma_min": min, "sigma_max": max}


def summarise(errors):
    """Return one dict for a set of matrices: the mean of each metric, and the extremes for the ends of the spectrum.

    Parameters
    ----------
    errors : list of dict of float
        One from :func:`polar_errors` for each matrix.

    Returns
    -------
    dict of float
    """
    return {name: _SUMMARIES.get(name, _mean)([each[name] for each in errors]) for name in errors[0]}


def _mean(values):
    return sum(values) / len(values)
