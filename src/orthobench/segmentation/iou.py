"""The least intersection over union of a class that attacks on the images of a data set can bring about."""

import math
from dataclasses import dataclass

import numpy as np

from .certificates import check_budgets
from .checks import IGNORED
from .costs import PixelCosts

# Choices up to which all of an image are kept, and how often those that are never best are searched for beyond.
_FEW, _PASSES = 32, 64
# Costs up to which all are sorted.
_SORTED = 4096


@dataclass(frozen=True)
class IoUChoices:
    """What an attack on an image can do to the intersection over union of a class: (I - m) / (U + n).

    Attributes
    ----------
    intersection, union : int
        I and U, before the attack.
    left, joined : ndarray (V,) int64
        For each choice, how many pixels that are right leave the class, m, and how many of another label and prediction
        are given it, n. Choices that are never best, whatever the other images, may be left out.
    most_left : int
        How many of the right ones can leave if that is all the attack does.
    """

    intersection: int
    union: int
    left: np.ndarray
    joined: np.ndarray
    most_left: int


def iou_choices(
    logits,
    labels,
    target,
    radius,
    lipschitz_constant=1.0,
    *,
    head_weight=None,
    rounding=None,
    ignore_index=IGNORED,
):
    """Return what an attack within a radius can do to the intersection over union of a class, for each image.

    Parameters
    ----------
    logits, labels, head_weight, rounding, ignore_index
        As in `leaving_costs`, the labels given.
    target : int
        The class k.
    radius : float
        r >= 0, of the attack on each image.
    lipschitz_constant : float
        As in `most_lost`.

    Returns
    -------
    list of IoUChoices
        One for each image, also if it has no pixel of the class: `least_iou` wants them of all images.

    Raises
    ------
    TypeError, ValueError
        As `leaving_costs` and `most_lost`; and if there is no such class.

    Notes
    -----
    m pixels leave for the sum of the m least `leaving_costs` of the right ones, PA[m], and n join for that of the n
    least `joining_costs`, PD[n]: choices are the m with PA[m] <= (L r)^2, each with the largest n for which PA[m] +
    PD[n] <= (L r)^2. An attack leaves alone what is wrong already: to change it could but raise the quotient.
    """
    if not isinstance(target, int) or isinstance(target, bool) or not 0 <= target < logits.shape[1]:
        raise ValueError(f"target must be a class in 0..{logits.shape[1] - 1}, got {target!r}.")
    budgets = check_budgets(radius, lipschitz_constant).tolist()
    costs = PixelCosts(logits, labels, head_weight, rounding, ignore_index)
    return [choices_of(costs, image, target, budgets)[0] for image in range(len(logits))]


def choices_of(costs, image, target, budgets):
    """Return the choices, an `IoUChoices` for each budget, of an attack on one image of `PixelCosts`."""
    most = max(budgets)
    confusion = costs.confusion[image]
    intersection = int(confusion[target, target])
    union = int(confusion[target].sum() + confusion[:, target].sum()) - intersection
    leaving = _prefix_sums(costs.leaving_within(image, target, most).cpu().numpy(), most)
    joining = _prefix_sums(costs.joining_within(image, target, most).cpu().numpy(), most)
    slack = 1 + (len(leaving) + len(joining)) * 2.0**-52
    found = []
    for budget in budgets:
        allowed = budget * slack
        most_left = int(np.searchsorted(leaving, allowed, side="right")) - 1
        joined = np.searchsorted(joining, allowed - leaving[: most_left + 1], side="right") - 1
        left, joined = _best(np.arange(most_left + 1), joined)
        found.append(IoUChoices(intersection, union, left, joined, most_left))
    return found


def least_iou(choices):
    """Return the least intersection over union of a class over a data set, of which each image is attacked.

    Parameters
    ----------
    choices : sequence of IoUChoices
        Of all images of the data set, those without the class too: what joins it there enlarges the union.

    Returns
    -------
    float
        NaN if no pixel has the class, and none can be given it.

    Raises
    ------
    ValueError
        If there is no image.

    Notes
    -----
    Images are pooled: the sum of their intersections over that of their unions. Its least value over the choices of all
    images isn't that of each image's own least quotient. Dinkelbach, "On nonlinear fractional programming", Management
    Science 1967: with the quotient q of the choices so far, each image takes the one with the largest m + q n; q falls
    until it is the least.

    Examples
    --------
    One image may lose its only right pixel or get 1000 wrong ones, the other is out of reach:

    >>> some = IoUChoices(1, 100, np.array([0, 1]), np.array([1000, 0]), 1)
    >>> other = IoUChoices(100, 100, np.array([0]), np.array([0]), 0)
    >>> round(least_iou([some, other]), 4), 100 / 200
    (0.0842, 0.5)
    """
    choices = list(choices)
    if not choices:
        raise ValueError("choices must be those of at least one image, got none.")
    intersection, union = (sum(getattr(each, name) for each in choices) for name in ("intersection", "union"))
    starts = np.cumsum([0] + [len(each.left) for each in choices[:-1]])
    left, joined = (np.concatenate([getattr(each, name) for each in choices]) for name in ("left", "joined"))
    if union == 0:
        return 0.0 if joined.any() else math.nan
    quotient = intersection / union
    image = np.repeat(np.arange(len(choices)), [len(each.left) for each in choices])
    while True:
        gains = left + quotient * joined
        best = np.maximum.reduceat(gains, starts)
        at_best = np.flatnonzero(gains == best[image])
        _, first = np.unique(image[at_best], return_index=True)
        taken = at_best[first]
        lower = (intersection - int(left[taken].sum())) / (union + int(joined[taken].sum()))
        if not lower < quotient:
            return quotient
        quotient = lower


def _prefix_sums(costs, budget):
    """Return 0 and the sums of the cheapest 1, 2, ... costs, as far as they are needed to reach the budget."""
    costs = costs[costs <= budget]
    bar = budget
    while len(costs) > _SORTED:
        bar /= 2
        fewer = costs[costs <= bar]
        if fewer.sum() <= budget * (1 + 1e-6):
            break
        costs = fewer
    costs.sort()
    sums = np.zeros(len(costs) + 1)
    np.cumsum(costs, out=sums[1:])
    return sums


def _best(left, joined):
    """Leave out choices that are never best: those below a segment between others, and all but their ends on one."""
    for _ in range(_PASSES):
        if len(left) <= _FEW:
            break
        across, up = np.diff(left), np.diff(joined)
        corner = up[1:] * across[:-1] < up[:-1] * across[1:]
        keep = np.concatenate([[True], corner, [True]])
        if keep.all():
            break
        left, joined = left[keep], joined[keep]
    return left, joined
