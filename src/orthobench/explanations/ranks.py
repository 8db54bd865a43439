"""Ranks, with ties as ties: their correlation, and orders of pixels."""

import torch


def average_ranks(values, tolerance=0.0):
    """Return the ranks of values, from 0; equal ones share the mean of theirs.

    Parameters
    ----------
    values : Tensor (..., n)
    tolerance : float or Tensor (..., 1)
        Neighbours in order that differ by no more are equal.

    Returns
    -------
    Tensor (..., n) float64
    """
    ordered, order = values.double().sort(-1)
    tolerance = torch.as_tensor(tolerance, dtype=torch.float64, device=values.device)
    steps = ordered.diff(dim=-1) > tolerance
    group = torch.cat([torch.zeros_like(order[..., :1]), steps.cumsum(-1)], -1)
    places = torch.arange(values.shape[-1], dtype=torch.float64, device=values.device).expand_as(ordered)
    zeros = torch.zeros_like(ordered)
    means = zeros.scatter_add(-1, group, places) / zeros.scatter_add(-1, group, torch.ones_like(ordered)).clamp(min=1)
    return torch.empty_like(ordered).scatter_(-1, order, means.gather(-1, group))


def rank_correlation(first, second, tolerance=0.0):
    """Return Spearman's rank correlation of values (..., n) with others: (...,) float64; 0 where all of one are equal.

    What doesn't distinguish anything isn't correlated with anything: a constant gets no credit from rounding.
    ``tolerance`` is that of `average_ranks`, for the first.
    """
    ranks = [average_ranks(first, tolerance), average_ranks(second)]
    first, second = (each - each.mean(-1, keepdim=True) for each in ranks)
    scale = (first.square().sum(-1) * second.square().sum(-1)).sqrt()
    return torch.where(scale > 0, (first * second).sum(-1) / scale.clamp(min=1e-300), 0).clamp(-1, 1)


def descending(values, generator):
    """Return the places of values (n,), from the largest to the smallest, equal ones in random order: (n,) int64."""
    shuffled = torch.randperm(len(values), generator=generator).to(values.device)
    return shuffled[values[shuffled].sort(descending=True, stable=True).indices]
