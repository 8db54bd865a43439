"""Certificates from a joint Lipschitz constant: which pixels keep their class, how many do, and from which radius on.

Throughout, ||f(x + d) - f(x)||_2 <= L ||d||_2 with the logits of *all* pixels in one vector. A constant of each logit
on its own does not do: with one, only `pixel_radii` is valid, with sqrt(2) times that constant. Radii are in units of
what L is for: of pixels before a normalisation, if its largest 1/std is a factor of L.
"""

import math
from numbers import Real

import torch

from ..lipschitz.certificates import check_positive, check_radius
from .costs import order

# By how much a cost and a budget, of a few roundings each, may be off against each other: granted to the attack.
_LAST_BITS = 2.0**-49


def pixel_radii(costs, lipschitz_constant=1.0):
    """Return the radius of each pixel within which it keeps its class.

    All pixels whose radius exceeds that of an attack keep their classes together, so that this certifies *which* pixels
    do (certificate A).

    Parameters
    ----------
    costs : Tensor
        Of `leaving_costs`.
    lipschitz_constant : float
        L > 0, of the network as a function of the image; with costs behind a head, of all before it.

    Returns
    -------
    Tensor float64
        Of the shape of the costs: the root of each, over L. With m the margin, m / (sqrt(2) L). NaN where there is no
        pixel.

    Raises
    ------
    TypeError, ValueError
        If the costs or the constant aren't those.

    Notes
    -----
    Tsuzuku, Sato and Sugiyama, "Lipschitz-margin training", NeurIPS 2018, proposition 1, for each pixel.
    """
    _check_costs(costs)
    check_positive("lipschitz_constant", lipschitz_constant, "it is what an upper bound returned")
    return costs.sqrt() / lipschitz_constant * (1 - 2.0**-50)


def most_lost(costs, radius, lipschitz_constant=1.0):
    """Return how many pixels of each image can leave their classes together, at most, within a radius.

    All pixels share what the radius allows (certificate B), so that the rest are as many as certificate A has, or more;
    which ones they are is left open.

    Parameters
    ----------
    costs : Tensor (B, H, W)
        Of `leaving_costs`. From those of the labels it is how many pixels are wrong, those that are so already among
        them; from those of the predictions, how many change. A pixel with NaN is none: mask the pixels of other classes
        to have the false negatives of a class.
    radius : float or sequence of float
        r >= 0, of the attack on each image.
    lipschitz_constant : float
        As in `pixel_radii`.

    Returns
    -------
    Tensor (B,) int64, or (B, R) for a sequence of R radii

    Raises
    ------
    TypeError, ValueError
        If the costs, a radius or the constant aren't those.

    Notes
    -----
    The changes of different pixels' logits are orthogonal, so that pixels leave together only if their costs sum to at
    most (L r)^2: a knapsack of equal values, which takes the cheapest. The number is the largest k with c_(1) + ... +
    c_(k) <= (L r)^2. For a square orthogonal linear map, L = 1, it is attained. Sums are in float64, and what they may
    be wrong by is granted to the attack.

    Examples
    --------
    >>> most_lost(torch.tensor([[[0.0, 1.0], [2.0, 4.0]]], dtype=torch.float64), [0, 1, 2, 3])
    tensor([[1, 2, 3, 4]])
    """
    lost = SortedCosts(costs).lost(check_budgets(radius, lipschitz_constant))
    return lost[:, 0] if isinstance(radius, Real) else lost


def most_value_lost(costs, values, radius, lipschitz_constant=1.0):
    """Return how much the pixels are worth, at most, that can leave their classes together within a radius.

    Parameters
    ----------
    costs, radius, lipschitz_constant
        As in `most_lost`.
    values : Tensor (B, H, W)
        What each pixel is worth, at least 0, finite where there is one. For the mean class accuracy of a data set with
        n_y pixels of class y, 1 / (n_y times the number of classes).

    Returns
    -------
    Tensor (B,) float64, or (B, R) for a sequence of R radii
        A bound from above, which is less than the dearest value of a pixel above the most.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't that.

    Notes
    -----
    The fractional knapsack (Dantzig, "Discrete-variable extremum problems", Operations Research 1957): in the order of
    cost over value, of the pixels that the radius can change at all, all that fit, and a part of the next.

    Examples
    --------
    >>> costs = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]], dtype=torch.float64)
    >>> most_value_lost(costs, torch.tensor([[[1.0, 1.0], [4.0, 1.0]]]), 1.5)
    tensor([5.2500], dtype=torch.float64)
    """
    budgets = check_budgets(radius, lipschitz_constant).tolist()
    costs = _flat(costs)
    values = values.to(costs).flatten(1)
    if values.shape != costs.shape or not (values.isfinite() & (values >= 0) | costs.isnan()).all():
        raise ValueError("values must be finite, at least 0, and of the shape of the costs; give one for each pixel.")
    result = torch.zeros(len(costs), len(budgets), dtype=torch.float64, device=costs.device)
    for image, (cost, value) in enumerate(zip(costs, values, strict=True)):
        used = (cost <= max(budgets, default=0)) & (value > 0)
        cost, value = cost[used], value[used]
        places = order(cost / value)
        cost, value = cost[places], value[places]
        for index, budget in enumerate(budgets):
            possible = cost <= budget
            result[image, index] = _fractional(cost[possible], value[possible], budget)
    return result[:, 0] if isinstance(radius, Real) else result


def _fractional(cost, value, budget):
    """Return the value of those that fit, in their order, and of the part of the next that does."""
    allowed = budget * (1 + len(cost) * 2.0**-52)
    prefix = cost.cumsum(0)
    count = int(torch.searchsorted(prefix, allowed, right=True))
    total = value[:count].sum()
    if count < len(cost):
        left = allowed - (prefix[count - 1] if count else 0)
        total = total + value[count] * left / cost[count]
    return total * (1 + len(cost) * 2.0**-52)


def least_radius(costs, share, lipschitz_constant=1.0):
    """Return the radius below which no attack makes a share of the pixels of an image leave their classes.

    Parameters
    ----------
    costs, lipschitz_constant
        As in `most_lost`. Every image has a pixel.
    share : float or sequence of float
        In (0, 1], of the pixels of each image: `radius_1`, `radius_10` and `radius_50` are those of 0.01, 0.1 and 0.5.

    Returns
    -------
    Tensor (B,) float64, or (B, S) for a sequence of S shares

    Raises
    ------
    TypeError, ValueError
        If an argument isn't that, or an image has no pixel.

    Notes
    -----
    The root of c_(1) + ... + c_(j), over L, for j the share of the pixels, rounded up.

    Examples
    --------
    >>> least_radius(torch.tensor([[[0.0, 1.0], [3.0, 5.0]]], dtype=torch.float64), [0.5, 0.75], 2.0)
    tensor([[0.5000, 1.0000]], dtype=torch.float64)
    """
    check_positive("lipschitz_constant", lipschitz_constant, "it is what an upper bound returned")
    shares = [share] if isinstance(share, Real) else list(share)
    for each in shares:
        if not isinstance(each, Real) or not 0 < each <= 1:
            raise ValueError(f"share must be in (0, 1], got {each!r}; 0.01 is 1 % of the pixels.")
    radii = SortedCosts(costs).least_budgets(shares).sqrt() / lipschitz_constant
    return radii[:, 0] if isinstance(share, Real) else radii


class SortedCosts:
    """The costs of each image's pixels in ascending order, and their sums.

    Attributes
    ----------
    pixels : Tensor (B,) int64
        How many there are.
    """

    def __init__(self, costs):
        costs = _flat(costs)
        self.pixels = costs.shape[1] - costs.isnan().count_nonzero(1)
        self._costs = _sort_rows(costs.nan_to_num(nan=math.inf, posinf=math.inf))
        self._prefix = self._costs.cumsum(1)
        self._slack = costs.shape[1] * 2.0**-52

    def held(self, budgets):
        """Return how many pixels cost more than each budget on their own, (B, R): certificate A."""
        below = self._count(self._costs, budgets)
        return self.pixels[:, None] - torch.minimum(below, self.pixels[:, None])

    def lost(self, budgets):
        """Return how many pixels each budget is enough for together, (B, R): certificate B."""
        return self._count(self._prefix, budgets * (1 + self._slack))

    def least_budgets(self, shares):
        """Return the least budget that is enough for each share of the pixels, (B, S)."""
        if not self.pixels.all():
            image = (self.pixels == 0).nonzero()[0].item()
            raise ValueError(f"costs of image {image} are all NaN: it has no labelled pixel; leave it out.")
        wanted = torch.tensor(shares, dtype=torch.float64, device=self.pixels.device)
        # 0.07 times 100 is more than 7: a pixel too few is on the safe side.
        ranks = (self.pixels[:, None] * wanted - 1e-9).ceil().long().clamp(min=1)
        return self._prefix.gather(1, ranks - 1) * (1 - 2 * self._slack - _LAST_BITS)

    def _count(self, ascending, budgets):
        budgets = budgets.to(ascending.device).expand(len(ascending), -1).contiguous()
        return torch.searchsorted(ascending, budgets, right=True)


def check_budgets(radius, lipschitz_constant):
    """Return (L r)^2 of each radius, (R,) float64, and what it and a cost may be wrong by in their last bits."""
    check_positive("lipschitz_constant", lipschitz_constant, "it is what an upper bound returned")
    radii = [radius] if isinstance(radius, Real) else [float(each) for each in radius]
    for each in radii:
        check_radius(each)
    budgets = torch.tensor([lipschitz_constant * each for each in radii], dtype=torch.float64).square()
    budgets *= 1 + _LAST_BITS
    if not budgets.isfinite().all():
        raise ValueError(
            f"radius {max(radii)!r} times lipschitz_constant {lipschitz_constant!r} is too large to square."
        )
    return budgets


def _check_costs(costs):
    if not isinstance(costs, torch.Tensor) or costs.dtype != torch.float64:
        got = costs.dtype if isinstance(costs, torch.Tensor) else type(costs).__name__
        raise TypeError(f"costs must be a float64 tensor, as leaving_costs returns them, got {got}.")
    if (costs < 0).any():
        raise ValueError(f"costs must be at least 0, got {costs[costs < 0][0].item()}; give those of leaving_costs.")


def _flat(costs):
    """Return costs (B, P)."""
    _check_costs(costs)
    if costs.ndim < 2 or not costs.numel():
        raise ValueError(f"costs must have the shape (B, H, W), with none of them 0, got {tuple(costs.shape)}.")
    return costs.flatten(1)


def _sort_rows(values):
    """Sort each row of a tensor that is nobody else's: on a CPU by numpy, which is faster without the places."""
    if values.device.type != "cpu":
        return values.sort(1).values
    values.numpy().sort(axis=1)
    return values
