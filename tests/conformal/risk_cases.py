"""Losses whose risk is known: one object an example, found by its score and then held with the margin that it needs."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from orthobench.conformal.risk import SeqCRC, SequentialLosses, StepLosses, conformal_risk_threshold


def misses(scores):
    """Return the losses 1[score < -a] in a."""
    ones = np.ones(len(scores))
    return StepLosses.from_needs(-scores, np.arange(len(scores)), start=ones, parts=ones)


@dataclass(frozen=True, eq=False)
class Held(SequentialLosses):
    """The losses 1[score < -a or need > b] of objects (n,)."""

    scores: np.ndarray
    needs: np.ndarray

    @property
    def count(self):
        return len(self.scores)

    def safest(self):
        return misses(self.scores)

    def at(self, first):
        found, ones = np.flatnonzero(self.scores >= -first), np.ones(self.count)
        return StepLosses.from_needs(self.needs[found], found, start=ones, parts=ones)


def sequential(first, losses, alpha_first, alpha):
    """Return a+ and the second step's threshold by `SeqCRC`."""
    control = SeqCRC(alpha_first, {"held": alpha}).calibrate(first, {"held": losses})
    return control.threshold, control.thresholds["held"]


def naive_plus(first, losses, alpha_first, alpha):
    """Return a+ and the threshold of a second step that is calibrated there, which breaks the guarantee."""
    safest = (first, losses.safest())
    threshold = max(conformal_risk_threshold(each, 1, alpha_first) for each in safest)
    return threshold, conformal_risk_threshold(losses.at(threshold), 1, alpha)


def no_correction(first, losses, alpha_first, alpha):
    """Return what `naive_plus` does, without the bound of the new example's loss in the second step."""
    threshold, _ = naive_plus(first, losses, alpha_first, alpha)
    return threshold, losses.at(threshold).least(Fraction(str(alpha)) * (losses.count + 1))
