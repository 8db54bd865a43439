"""Losses that fall as a parameter grows, and the smallest parameter at which their risk is controlled, exactly."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real

import numpy as np
import torch


class MonotoneLosses(ABC):
    """Losses of n examples, each non-negative, non-increasing and right-continuous in one parameter.

    Attributes
    ----------
    count : int
        n.
    largest : float
        No loss exceeds it.
    """

    @abstractmethod
    def values(self, parameter):
        """Return the losses (n,) at a parameter, in float64."""

    @abstractmethod
    def sum(self, parameter):
        """Return the sum of the losses at a parameter, a `Fraction`, without rounding."""

    @abstractmethod
    def least(self, total):
        """Return the smallest parameter at which the losses sum to at most a total.

        Parameters
        ----------
        total : Fraction

        Returns
        -------
        float
            Minus infinity if every parameter will do, infinity if none will, or the largest alone.
        """


@dataclass(frozen=True, eq=False)
class StepLosses(MonotoneLosses):
    """Losses that are constant between events: of example i, ``numerators[j] / parts[i]`` from event j to the next.

    Sums are of integers where the numerators are integers: three losses of 1/3 are 1, which they aren't in float64.
    `from_needs` and `from_table` make them.

    Attributes
    ----------
    at : Tensor, array or list (E,)
        Where the events of an example are, ascending; the first of each is at minus infinity. Those of one example
        follow those of another.
    numerators : Tensor, array or list (E,)
        Of the losses from there on. Not ascending within an example, not negative.
    offsets : Tensor, array or list (n + 1,)
        Events offsets[i] to offsets[i + 1] - 1 are those of example i.
    parts : Tensor, array or list (n,)
        The denominators: positive integers.

    Raises
    ------
    ValueError
        If they are none of these: a loss that rises is named.
    """

    at: np.ndarray
    numerators: np.ndarray
    offsets: np.ndarray
    parts: np.ndarray

    def __post_init__(self):
        for name, kind in (("at", float), ("numerators", float), ("offsets", np.int64), ("parts", np.int64)):
            object.__setattr__(self, name, as_array(getattr(self, name)).astype(kind))
        if np.isnan(self.at).any():
            raise ValueError("a loss changes at NaN; repair the score that it depends on.")
        inside = ~self._first[1:]
        if not np.isneginf(self.at[self._first]).all() or (self.at[1:] < self.at[:-1])[inside].any():
            raise ValueError("events must ascend from minus infinity in each example; use from_needs or from_table.")
        if (self.parts < 1).any():
            raise ValueError(f"parts must be at least 1, got {self.parts.min()}; 1 where the numerator is the loss.")
        rises = np.flatnonzero((np.diff(self.numerators) > 0) & inside)
        if len(rises):
            example = int(np.searchsorted(self.offsets, rises[0], side="right")) - 1
            before, after = self.numerators[rises[0] : rises[0] + 2] / self.parts[example]
            raise ValueError(
                f"losses must not rise with the parameter, but that of example {example} rises from {before:g} to "
                f"{after:g} at {self.at[rises[0] + 1]:g}; take its supremum over all larger parameters."
            )
        if not (np.isfinite(self.numerators).all() and (self.numerators >= 0).all()):
            bad = self.numerators[~(np.isfinite(self.numerators) & (self.numerators >= 0))][0]
            raise ValueError(f"losses must be finite and at least 0, got {bad:g}; shift or cut them.")

    @classmethod
    def from_needs(cls, needs, example, start, parts):
        """Return losses that fall by 1 / parts wherever the parameter reaches a need.

        Parameters
        ----------
        needs : array (m,)
            Infinity is reached by the largest parameter alone.
        example : array (m,)
            Whose needs they are, in 0..n - 1.
        start : array (n,)
            What a loss begins with, times its parts: at least the number of the example's needs.
        parts : array (n,)
            Positive integers.

        Examples
        --------
        A miss of example 0, and the share of misses among two objects of example 1:

        >>> losses = StepLosses.from_needs([0.5, 0.1, 0.7], [0, 1, 1], start=[1, 2], parts=[1, 2])
        >>> losses.values(0.6).tolist()
        [0.0, 0.5]
        """
        needs, example, start = as_array(needs).astype(float), as_array(example).astype(np.int64), as_array(start)
        order = np.lexsort((needs, example))
        needs, example = needs[order], example[order]
        counts = np.bincount(example, minlength=len(start)) + 1
        offsets = np.concatenate([[0], counts.cumsum()])
        rank = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        at = np.full(offsets[-1], -math.inf)
        at[rank > 0] = needs
        return cls(at, np.repeat(start, counts) - rank, offsets, parts)

    @classmethod
    def from_table(cls, points, values):
        """Return losses from their values between points.

        Parameters
        ----------
        points : array (K,)
            Where losses may change, ascending.
        values : array (n, K + 1)
            Taken as the float64 numbers that they are: column 0 below all points, column k from points[k - 1] on.
        """
        points, values = as_array(points).astype(float), as_array(values).astype(float)
        if values.ndim != 2 or values.shape[1] != len(points) + 1:
            raise ValueError(
                f"values must be (n, {len(points) + 1}), a column below the {len(points)} points and one from each on, "
                f"got {values.shape}."
            )
        if (np.diff(points) <= 0).any():
            raise ValueError(f"points must ascend, got {points.tolist()}; sort them, and the columns with them.")
        count, width = values.shape
        at = np.concatenate([[-math.inf], points])
        return cls(np.tile(at, count), values.ravel(), np.arange(count + 1) * width, np.ones(count))

    def __getitem__(self, examples):
        """Return the losses of some of the examples: by a slice, indices, or a mask (n,)."""
        chosen = np.atleast_1d(np.arange(self.count)[examples])
        counts = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], counts.cumsum()])
        events = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], counts)
        return StepLosses(self.at[events], self.numerators[events], offsets, self.parts[chosen])

    @property
    def count(self):
        """The number of examples, n."""
        return len(self.parts)

    @property
    def largest(self):
        """The largest loss: the first of one of the examples."""
        return float((self.numerators[self.offsets[:-1]] / self.parts).max(initial=0.0))

    def values(self, parameter):
        """Return the losses (n,) at a parameter, in float64."""
        return self._numerators_at(parameter) / self.parts

    def sum(self, parameter):
        """Return the sum of the losses at a parameter, a `Fraction`, without rounding."""
        numerators = self._numerators_at(parameter)
        return sum(
            (exact_sum(numerators[self.parts == each]) / int(each) for each in np.unique(self.parts)), Fraction()
        )

    def least(self, total):
        """Return the smallest parameter at which the losses sum to at most a total: one of the events, or infinity.

        Parameters
        ----------
        total : Fraction

        Returns
        -------
        float
        """
        events = np.unique(self.at)
        low, high = 0, len(events)
        while low < high:  # sums fall from event to event: the first one that is small enough
            middle = (low + high) // 2
            low, high = (low, middle) if self.sum(events[middle]) <= total else (middle + 1, high)
        return float(events[low]) if low < len(events) else math.inf

    @property
    def _first(self):
        """Which events are the first of their examples."""
        first = np.zeros(len(self.at), dtype=bool)
        first[self.offsets[:-1]] = True
        return first

    def _numerators_at(self, parameter):
        """Return the numerators (n,) of the losses at a parameter."""
        reached = np.concatenate([[0], (self.at <= parameter).cumsum()])[self.offsets]
        return self.numerators[self.offsets[:-1] + np.diff(reached) - 1]


def conformal_risk_threshold(losses, bound, alpha):
    """Return the smallest parameter at which (the sum of n losses + bound) / (n + 1) is at most alpha.

    If the loss of a new example is exchangeable with these, and at most alpha at the largest parameter, its
    expectation at this one is at most alpha.

    Parameters
    ----------
    losses : MonotoneLosses
        Of n calibration examples.
    bound : float
        B > 0: no loss, of any example, exceeds it.
    alpha : float
        The risk that is allowed, in (0, bound). Like the bound it is taken as the decimal number that it is printed
        as, and nothing is rounded.

    Returns
    -------
    float
        An event of `StepLosses`. Infinity, the largest parameter, where no other will do: if alpha (n + 1) < bound, or
        if the losses stay too large. Minus infinity, the smallest, where all will.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these, or a loss exceeds the bound.

    Notes
    -----
    Angelopoulos, Bates, Fisch, Lei and Schuster, "Conformal risk control", ICLR 2024, theorem 1. Of losses
    of 0 and 1 it is the conformal threshold: minus `orthobench.conformal.conformal_threshold` of minus the needs.

    Examples
    --------
    >>> needs = np.arange(1.0, 20.0)
    >>> misses = StepLosses.from_needs(needs, np.arange(19), start=np.ones(19), parts=np.ones(19))
    >>> conformal_risk_threshold(misses, 1, 0.1)
    18.0
    """
    check_losses("losses", losses, bound)
    return losses.least(as_level("alpha", alpha, bound) * (losses.count + 1) - as_bound(bound))


def exact_sum(values):
    """Return the sum of finite float64 numbers (n,) as a `Fraction`, without rounding."""
    if (values == np.rint(values)).all() and abs(values).sum() < 2**53:
        return Fraction(int(values.sum()))
    mantissas, exponents = np.frexp(values)
    integers, total = np.ldexp(mantissas, 53).astype(np.int64), Fraction()
    for each in np.unique(exponents):
        some = integers[exponents == each]
        # In two halves, whose sums fit into 64 bits.
        total += Fraction((int((some >> 27).sum()) << 27) + int((some & (2**27 - 1)).sum())) * Fraction(2) ** int(
            each - 53
        )
    return total


def as_array(values):
    """Return a NumPy array of an array, a list, or a tensor on any device; its floating-point numbers in float64."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def as_bound(bound):
    """Return the bound of the losses as an exact number; raise TypeError or ValueError unless it is positive."""
    if not isinstance(bound, Real) or isinstance(bound, bool):
        raise TypeError(f"bound must be a number, got {bound!r} ({type(bound).__name__}); 1 is the usual one.")
    if not 0 < bound < math.inf:
        raise ValueError(f"bound must be positive and finite, got {bound!r}; it is what no loss exceeds, often 1.")
    return Fraction(str(bound))


def as_level(name, alpha, bound=1):
    """Return an allowed risk as the exact decimal number that it is printed as.

    Raises
    ------
    TypeError, ValueError
        If it is no number strictly between 0 and the bound.
    """
    if not isinstance(alpha, Real) or isinstance(alpha, bool):
        raise TypeError(f"{name} must be a number, got {alpha!r} ({type(alpha).__name__}); 0.1 is the usual one.")
    if not 0 < alpha < bound:
        raise ValueError(
            f"{name} must be strictly between 0 and {float(bound):g}, the bound of the losses, got {alpha!r}."
        )
    return Fraction(str(alpha))


def check_losses(name, losses, bound):
    """Return losses; raise TypeError or ValueError unless they are `MonotoneLosses` that no bound is exceeded by."""
    if not isinstance(losses, MonotoneLosses):
        raise TypeError(f"{name} must be MonotoneLosses, got {type(losses).__name__}; see StepLosses.from_needs.")
    if losses.largest > as_bound(bound):
        raise ValueError(
            f"{name} reach {losses.largest:g}, above the bound of {float(bound):g}; raise the bound or divide them."
        )
    return losses
