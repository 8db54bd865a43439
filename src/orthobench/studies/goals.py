"""Figures of one run, each beside the goal that it has: a line to print, and a row to keep."""

import math
import statistics
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """A ratio, and the goal that it has, if any.

    Attributes
    ----------
    name : str
    value : float
        The median, where it was measured several times.
    low, high : float
        Its quartiles; NaN where it was measured once.
    count : int
        How often it was measured.
    at_least, at_most : float
        The goal: NaN for none.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 1
    at_least: float = math.nan
    at_most: float = math.nan

    @classmethod
    def of(cls, name, values, **goal):
        """Return the figure of several values, which need not be sorted."""
        low = high = math.nan
        if len(values) > 1:
            low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(name, statistics.median(values), low, high, len(values), **goal)

    @property
    def goal(self):
        """The goal as text, empty if there is none."""
        parts = [("at least", self.at_least), ("at most", self.at_most)]
        return " and ".join(f"{text} {bound:g}" for text, bound in parts if not math.isnan(bound))

    @property
    def holds(self):
        """Whether the median reaches the goal; a NaN reaches none."""
        return not (self.value < self.at_least or self.value > self.at_most or math.isnan(self.value))

    def verdict(self, judged=True):
        """Return what is said of the goal: "" if there is none."""
        if not self.goal:
            return ""
        if not judged:
            return "not judged"
        return "holds" if self.holds else "DOES NOT HOLD"

    def line(self, judged=True):
        """Return the line to print."""
        spread = f" ({self.low:.3f} to {self.high:.3f} in the middle half of {self.count})" if self.count > 1 else ""
        goal = f"; {self.goal}: {self.verdict(judged)}" if self.goal else ""
        return f"{self.name}: {self.value:.3f}{spread}{goal}"

    def row(self, judged=True):
        """Return the columns to keep, as a dict of scalars."""
        return asdict(self) | {"verdict": self.verdict(judged)}


def ratios(times, one, other):
    """Return how many times as long one method took as another, for each repetition.

    Parameters
    ----------
    times : dict of str to list of float
        As `orthobench.studies.timing.times_in_turn` returns it.
    one, other : str

    Returns
    -------
    list of float
    """
    return [first / second for first, second in zip(times[one], times[other], strict=True)]
