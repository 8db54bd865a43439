"""What it takes to change the class of a pixel: the least squared change of its logits, in float64."""

from functools import cached_property

import torch

from ..lipschitz.certificates import ROUNDING_UNITS
from .checks import IGNORED, check_labels, check_logits

# Pixels at a time, of an image. Of the pixels that may join a class, one in `_STRIDE` is looked at first, if more than
# `_FEW` are then left, for how many are needed.
_PART = 2**14
_STRIDE, _FEW = 64, 64


def leaving_costs(logits, labels=None, *, head_weight=None, rounding=None, ignore_index=IGNORED):
    """Return the squared change of its logits that makes a pixel leave its class, at least.

    Parameters
    ----------
    logits : Tensor (B, K, H, W)
        Of the network on the clean images, of any floating-point type, K >= 2.
    labels : Tensor (B, H, W), optional
        The right classes: a pixel that isn't of its label costs nothing. By default those that are predicted.
    head_weight : Tensor (K, features) or (K, features, 1, 1), optional
        Of a 1x1 convolution that is the last layer: the costs are then those in the features before it.
    rounding : float or Tensor (B,), optional
        A bound on the error of each logit, at any input: by default that of `orthobench.lipschitz.certified_radius`,
        from the largest logit of the image.
    ignore_index : int or None
        The label of pixels that are no pixels.

    Returns
    -------
    Tensor (B, H, W) float64
        In units of a logit squared, or of a feature squared. NaN where a pixel is ignored. Infinity, with a head, if no
        change of the features makes the pixel leave. No gradient is recorded.

    Raises
    ------
    TypeError, ValueError
        If logits, labels, head or rounding don't fit or aren't finite.

    Notes
    -----
    With the margin m of the first over the second logit, both meet half-way: the least change is m^2 / 2, exactly.
    Behind a head with rows w it is the least over k of (m_k / ||w_y - w_k||)^2, exactly too (if the logits of the
    features change as the head says). A logit that is wrong by at most B makes a difference wrong by 2 B, at the clean
    and at the attacked image: 4 B is subtracted from each difference first.

    For one pixel these are the radii of Tsuzuku, Sato and Sugiyama, "Lipschitz-margin training", NeurIPS 2018,
    proposition 1, and of Singla, Singla and Feizi, ICLR 2022, section 4, squared and times L^2.

    Examples
    --------
    >>> logits = torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64).view(1, 3, 1, 1)
    >>> leaving_costs(logits).item(), leaving_costs(logits, torch.tensor([[[1]]])).item()
    (2.0, 0.0)
    """
    return PixelCosts(logits, labels, head_weight, rounding, ignore_index).leaving


def joining_costs(logits, target, *, head_weight=None, rounding=None):
    """Return a lower bound of the squared change of its logits that makes a pixel be given a class.

    Parameters
    ----------
    logits, head_weight, rounding
        As in `leaving_costs`.
    target : int
        The class k.

    Returns
    -------
    Tensor (B, H, W) float64
        0 where the class wins already.

    Raises
    ------
    TypeError, ValueError
        As `leaving_costs`, and if there is no such class.

    Notes
    -----
    The logit k must meet the largest one, which takes (max_j z_j - z_k)^2 / 2; with more than two classes others may be
    in its way, so that this is no more than the exact cost. Behind a head, the largest over j of
    ((z_j - z_k) / ||w_j - w_k||)^2.

    Examples
    --------
    >>> logits = torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64).view(1, 3, 1, 1)
    >>> joining_costs(logits, 2).item()
    4.5
    """
    costs = PixelCosts(logits, None, head_weight, rounding, None)
    classes = logits.shape[1]
    if not isinstance(target, int) or isinstance(target, bool) or not 0 <= target < classes:
        raise ValueError(f"target must be a class in 0..{classes - 1}, got {target!r}.")
    return costs.joining(target)


class PixelCosts:
    """Logits and labels of a batch, checked, and what its pixels cost.

    Attributes
    ----------
    labels : Tensor (B, H, W) int64 or None
        0 where there is none.
    labelled, correct : Tensor (B, H, W) bool
        Which pixels have a label, and which have it and are predicted so; all, if no labels were given.
    predicted : Tensor (B, H, W) int64
        The first class of the largest logit.
    """

    def __init__(self, logits, labels=None, head_weight=None, rounding=None, ignore_index=IGNORED):
        largest = check_logits(logits)
        self.logits = logits.detach()
        shape = (len(logits), *logits.shape[2:])
        self.labels, self.labelled = None, torch.ones(shape, dtype=torch.bool, device=logits.device)
        if labels is not None:
            found, labelled = check_labels(labels, shape, logits.shape[1], ignore_index)
            self.labels, self.labelled = found.to(logits.device), labelled.to(logits.device)
        self._slopes = None if head_weight is None else _slopes(head_weight, self.logits)
        self.uncertain = 4 * _errors(self.logits, largest, rounding)
        self._first, self._second, self.predicted = _top_two(self.logits)
        self.correct = self.labelled if labels is None else self.labelled & (self.predicted == self.labels)

    @cached_property
    def stable(self):
        """The cost of leaving the class that is predicted, (B, H, W)."""
        if self._slopes is None:
            return _half_square(self._gap(self._second))
        least = torch.full_like(self._first, torch.inf, dtype=torch.float64)
        for k in range(self.logits.shape[1]):
            quotient = _quotient(self._gap(self.logits[:, k]), self._slopes[k][self.predicted])
            least = torch.where(self.predicted == k, least, torch.minimum(least, quotient))
        return least.square_()

    @property
    def leaving(self):
        """The cost of leaving the label, 0 where another class is predicted, NaN where there is none, (B, H, W)."""
        return torch.where(self.correct, self.stable, 0).masked_fill_(~self.labelled, torch.nan)

    def joining(self, k):
        """The least cost of being given a class, (B, H, W)."""
        if self._slopes is None:
            return _half_square(self._gap(self.logits[:, k]))
        most = torch.zeros_like(self._first, dtype=torch.float64)
        for j in range(self.logits.shape[1]):
            if j != k:
                gap = self.logits[:, j].double() - self.logits[:, k].double() - self.uncertain.view(-1, 1, 1)
                most = torch.maximum(most, _quotient(gap.clamp_(min=0), self._slopes[k, j]))
        return most.square_()

    @cached_property
    def confusion(self):
        """How many pixels of each image have a label (rows) and a prediction (columns), (B, K, K), on the CPU."""
        classes, images = self.logits.shape[1], len(self.logits)
        first = torch.arange(images, device=self.labels.device).view(-1, 1, 1) * classes
        cells = ((first + self.labels) * classes + self.predicted)[self.labelled]
        return torch.bincount(cells, minlength=images * classes**2).view(images, classes, classes).cpu()

    @cached_property
    def _bar(self):
        """The largest logit, infinity where no label is, so that nothing is near it there."""
        return self._first.masked_fill(~self.labelled, torch.inf)

    @cached_property
    def _leaving_by_class(self):
        """The costs of the pixels that are right, a list of K tensors for each image."""
        found = []
        for image, counts in enumerate(self.confusion.diagonal(dim1=1, dim2=2).tolist()):
            right = self.correct[image]
            classes, costs = self.labels[image][right], self.stable[image][right]
            found.append(costs[order(classes.short())].split(counts))
        return found

    def leaving_within(self, image, k, budget):
        """Return the costs, up to a budget, of the pixels of an image that rightly have a class k, (n,)."""
        costs = self._leaving_by_class[image][k]
        return costs[costs <= budget]

    def joining_within(self, image, k, budget):
        """Return the costs of pixels of an image that neither have the class k nor are given it, (n,).

        The cheapest ones: all up to the budget, or enough of them for their sum to exceed it.
        """
        labels, predicted = (each[image].flatten() for each in (self.labels, self.predicted))

        def others(places):
            return (labels[places] != k) & (predicted[places] != k)

        if self._slopes is not None:
            costs = self.joining(k)[image].flatten()
            places = (self.labelled[image].flatten() & (costs <= budget)).nonzero().squeeze(1)
            return costs[places[others(places)]]
        # A choice by the difference in the logits' own type, whose rounding keeps the order; costs are exact.
        first, target = (each.flatten() for each in (self._bar[image], self.logits[image, k]))
        gaps, uncertain = first - target, self.uncertain[image]
        eps = torch.finfo(gaps.dtype).eps
        most = ((2 * budget) ** 0.5 + uncertain.item()) * (1 + 4 * eps) + torch.finfo(gaps.dtype).tiny

        def exact(near):
            places = near.nonzero().squeeze(1)
            places = places[others(places)]
            return _half_square(first[places].double() - target[places].double() - uncertain)

        every = slice(None, None, _STRIDE)
        sample = gaps[every][others(every)]
        sample = sample[sample <= most].sort().values
        if len(sample) > _FEW:
            spent = _half_square(sample.double() - uncertain).cumsum(0) * _STRIDE
            last = int(torch.searchsorted(spent, 2 * budget))
            if last < len(sample):
                costs = exact(gaps <= sample[last])
                if costs.sum() > budget * (1 + 1e-6):
                    return costs
        costs = exact(gaps <= most)
        return costs[costs <= budget]

    def _gap(self, other):
        """Return by how much the largest logit certainly exceeds another, in float64."""
        first = self._first.to(torch.float64, copy=True)
        return first.sub_(other).sub_(self.uncertain.view(-1, 1, 1)).clamp_(min=0)


def order(values):
    """Return the places of values (n,) in ascending order: on a CPU by numpy, which is faster."""
    if values.device.type != "cpu":
        return values.argsort(stable=True)
    return torch.from_numpy(values.numpy().argsort(kind="stable" if values.dtype == torch.int16 else None))


def _half_square(gaps):
    return gaps.clamp(min=0).square_().mul_(0.5)


def _top_two(logits):
    """Return the largest and the second largest logit of each pixel, and the first class of the largest.

    One class after the other, in memory of the size of the pixels; on a CPU in parts that fit into its caches.
    """
    rows = max(1, _PART // logits.shape[3]) if logits.device.type == "cpu" else logits.shape[2]
    parts = [_top_two_of_part(part) for part in logits.split(rows, 2)]
    return tuple(torch.cat(each, 1) for each in zip(*parts, strict=True))


def _top_two_of_part(logits):
    first, second = logits[:, 0].clone(), torch.full_like(logits[:, 0], -torch.inf)
    predicted = torch.zeros(first.shape, dtype=torch.int64, device=logits.device)
    lower = torch.empty_like(first)
    for k in range(1, logits.shape[1]):
        logit = logits[:, k]
        predicted.masked_fill_(logit > first, k)
        torch.minimum(first, logit, out=lower)
        torch.maximum(second, lower, out=second)
        torch.maximum(first, logit, out=first)
    return first, second, predicted


def _quotient(gap, slope):
    """Return gap / slope, with 0 / 0 = 0: equal logits and rows are no certificate."""
    return torch.where(gap > 0, gap / slope, 0)


def _slopes(head_weight, logits):
    """Return the distances (K, K) of the rows of the last layer."""
    if not isinstance(head_weight, torch.Tensor):
        raise TypeError(f"head_weight must be a torch.Tensor, got {type(head_weight).__name__}; give the last weight.")
    weight = head_weight.detach()
    weight = weight.flatten(1) if weight.ndim == 4 and weight.shape[2:] == (1, 1) else weight
    if weight.ndim != 2 or len(weight) != logits.shape[1]:
        raise ValueError(
            f"head_weight must have the shape ({logits.shape[1]}, features), of a 1x1 convolution with one row for "
            f"each class, got {tuple(head_weight.shape)}; give the weight of the last layer."
        )
    if not weight.isfinite().all():
        raise ValueError("head_weight must be finite, got NaN or infinity; nothing can be certified with it.")
    weight = weight.to(logits.device).double()
    # Not torch.cdist, which takes a faster, less exact formula for large matrices.
    return (weight[:, None] - weight).norm(dim=2)


def _errors(logits, largest, rounding):
    """Return the bound (B,) of the error of each image's logits."""
    if rounding is None:
        return ROUNDING_UNITS[logits.dtype] * torch.finfo(logits.dtype).eps * largest
    error = torch.as_tensor(rounding, dtype=torch.float64, device=logits.device)
    if error.ndim and error.shape != logits.shape[:1]:
        raise ValueError(f"rounding must be a number or of shape ({len(logits)},), got {tuple(error.shape)}.")
    if not (error.isfinite() & (error >= 0)).all():
        raise ValueError(f"rounding must be finite and at least 0, got {rounding!r}; 0 claims exact logits.")
    return error.expand(len(logits))
