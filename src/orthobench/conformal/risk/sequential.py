"""Sequential conformal risk control: a first parameter, and then others whose losses depend on it."""

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from .losses import StepLosses, as_array, as_bound, as_level, check_losses, conformal_risk_threshold


class SequentialLosses(ABC):
    """Losses of n examples in two parameters, the first step's and one of the second step.

    They are non-increasing and right-continuous in each. Where the loss of an example rises with the first parameter,
    its supremum over all larger ones takes its place: example by example, which is valid for every n. (The supremum of
    the mean loss would be valid only as n grows.)

    Attributes
    ----------
    count : int
        n.
    """

    @abstractmethod
    def safest(self):
        """Return the losses as `MonotoneLosses` in the first parameter, at the largest second one."""

    @abstractmethod
    def at(self, first):
        """Return the losses as `MonotoneLosses` in the second parameter, at a first one."""


@dataclass(frozen=True, eq=False)
class LossTable(SequentialLosses):
    """Losses from their values between points of two parameters.

    Attributes
    ----------
    first, second : array (A,), (K,)
        Where losses may change, ascending.
    values : array (n, A + 1, K + 1)
        ``values[i, j, k]``: of example i, where j of the points of ``first`` and k of those of ``second`` are at most
        the parameters.
    """

    first: np.ndarray
    second: np.ndarray
    values: np.ndarray

    def __post_init__(self):
        for name in ("first", "second", "values"):
            object.__setattr__(self, name, as_array(getattr(self, name)).astype(float))
        expected = len(self.first) + 1, len(self.second) + 1
        if self.values.ndim != 3 or self.values.shape[1:] != expected:
            raise ValueError(
                f"values must be (n, {expected[0]}, {expected[1]}) for these points, got {self.values.shape}."
            )

    @property
    def count(self):
        """The number of examples, n."""
        return len(self.values)

    def safest(self):
        """Return the losses in the first parameter, at the largest second one."""
        last = self.values[:, ::-1, -1]
        return StepLosses.from_table(self.first, np.maximum.accumulate(last, axis=1)[:, ::-1])

    def at(self, first):
        """Return the losses in the second parameter, at a first one."""
        reached = np.searchsorted(self.first, first, side="right")
        return StepLosses.from_table(self.second, self.values[:, reached:].max(axis=1))


class SeqCRC:
    """Sequential conformal risk control, of losses of any kind.

    The first step chooses two parameters: ``optimistic``, a-, at which the second step is calibrated, and
    ``threshold``, a+, which is the one to predict with. Calibrating at a+ itself would exceed alpha, by up to about
    bound / (n + 1).

    Parameters
    ----------
    alpha_first : float
        The risk that is allowed in the first step, in (0, bound).
    alphas : dict of str to float
        Of each loss of the second step, by name. Each is at least alpha_first + bound / (n + 1), without which the
        second step might find no parameter.
    bound : float
        B > 0, which no loss exceeds.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Attributes
    ----------
    optimistic, threshold : float
        a- and a+. Infinity is the largest parameter.
    thresholds : dict of str to float
        Of the second step.
    infeasible : tuple of str
        Names of the parameters that are the largest ones as no smaller one will do ("first" for a+). The guarantee
        then needs losses that are at most alpha there; such calibrations must not be left out of a study.
    count : int
        n; None before calibration.

    Notes
    -----
    Andeol and Massena, "Sequential conformal risk control for safe railway signaling detection", COPA 2025 (PMLR 266),
    theorem 1: if examples are exchangeable, each risk is at most its alpha, in expectation over calibration and test.
    Nothing is said of an example, nor of a calibration. The largest of the second step's losses is in expectation at
    most the sum of their alphas.

    Examples
    --------
    An object each: it must be found, by its score, and then be held by a box with the margin that it needs.

    >>> scores, needs = np.random.default_rng(0).random((2, 99))
    >>> missed = StepLosses.from_needs(-scores, np.arange(99), start=np.ones(99), parts=np.ones(99))
    >>> first, second = np.sort(-scores), np.sort(needs)
    >>> lost = -scores[:, None, None] > np.append(-np.inf, first)[:, None]
    >>> outside = needs[:, None, None] > np.append(-np.inf, second)
    >>> control = SeqCRC(0.05, {"place": 0.1}).calibrate(missed, {"place": LossTable(first, second, lost | outside)})
    >>> int((scores >= -control.threshold).sum()), int((needs <= control.thresholds["place"]).sum())
    (95, 95)
    """

    def __init__(self, alpha_first, alphas, bound=1):
        as_bound(bound)
        as_level("alpha_first", alpha_first, bound)
        for name, alpha in alphas.items():
            as_level(f"the alpha of {name}", alpha, bound)
        self.alpha_first, self.alphas, self.bound = alpha_first, dict(alphas), bound
        self.count = self.optimistic = self.threshold = self.thresholds = self.infeasible = None

    def calibrate(self, first, losses):
        """Choose all parameters.

        Parameters
        ----------
        first : MonotoneLosses
            Of the first step, of n examples.
        losses : dict of str to SequentialLosses
            Of the second step, of the same examples, by the names of ``alphas``.

        Returns
        -------
        SeqCRC
            Itself.

        Raises
        ------
        TypeError, ValueError
            If the losses don't fit, exceed the bound, or n is too small for these alphas.

        Warns
        -----
        UserWarning
            If n is too small for alpha_first, so that a+ is the largest parameter.
        """
        self._check(first, losses)
        safest = [first] + [
            check_losses(f"losses of {name}", each.safest(), self.bound) for name, each in losses.items()
        ]
        # The largest of the sums is at most a total where each of them is.
        optimistic_total = as_level("alpha_first", self.alpha_first, self.bound) * (first.count + 1)
        self.optimistic = max(each.least(optimistic_total) for each in safest)
        self.threshold = max(conformal_risk_threshold(each, self.bound, self.alpha_first) for each in safest)
        self.thresholds = {
            name: conformal_risk_threshold(each.at(self.optimistic), self.bound, self.alphas[name])
            for name, each in losses.items()
        }
        self.count = first.count
        chosen = {"first": self.threshold, **self.thresholds}
        self.infeasible = tuple(name for name, each in chosen.items() if each == math.inf)
        return self

    def _check(self, first, losses):
        check_losses("the first step's losses", first, self.bound)
        if losses.keys() != self.alphas.keys():
            raise ValueError(f"losses are of {list(losses)}, alphas of {list(self.alphas)}; give one of each.")
        for name, each in losses.items():
            if each.count != first.count:
                raise ValueError(f"losses of {name} are of {each.count} examples, the first step's of {first.count}.")
        check_levels(self.alpha_first, self.alphas, first.count, self.bound)


def check_levels(alpha_first, alphas, count, bound=1):
    """Raise ValueError unless each alpha is at least alpha_first + bound / (n + 1); warn if that one is out of reach.

    Parameters
    ----------
    alpha_first : float
    alphas : dict of str to float
    count : int
        n.
    bound : float

    Warns
    -----
    UserWarning
        If alpha_first (n + 1) < bound; it says how many examples would do.
    """
    lowest, limit = as_level("alpha_first", alpha_first, bound), as_bound(bound)
    first, largest = float(lowest), float(limit)  # to be printed
    for name, alpha in alphas.items():
        level, least = as_level(f"the alpha of {name}", alpha, bound), lowest + limit / (count + 1)
        if level >= least:
            continue
        # In six decimals, on the side that will do.
        raised, lowered = (math.ceil(least * 10**6), math.floor((level - limit / (count + 1)) * 10**6))
        remedies = [f"raise it to {raised / 10**6}"] if raised < bound * 10**6 else []
        if lowered > 0:
            remedies.append(f"lower the first one to {lowered / 10**6}")
        if level > lowest:
            remedies.append(f"calibrate on {math.ceil(limit / (level - lowest)) - 1} examples")
        if not remedies:
            remedies.append("calibrate on more examples, with a smaller first one")
        raise ValueError(
            f"the alpha of {name} is {float(level):g}, but with {count} examples and {first:g} as the first step's "
            f"alpha it must be at least {first:g} + {largest:g} / (n + 1) = {float(least):.6g}: "
            f"{', or '.join(remedies)}."
        )
    if lowest * (count + 1) < limit:
        warnings.warn(
            f"the first parameter is the largest one: {count} examples are too few for alpha={first:g}; "
            f"{math.ceil(limit / lowest) - 1} would do.",
            stacklevel=4,
        )
