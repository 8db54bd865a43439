"""RCP1: one noisy copy of each input; what is certified is the coverage, not a score."""

from .concentration import lowered_probability
from .smoothed import SmoothedPredictor


class RCP1(SmoothedPredictor):
    """Robust conformal prediction with one sample: split conformal prediction under noise, at a higher level.

    Parameters
    ----------
    score : orthobench.conformal.Score
        Any; it needn't be bounded.
    alpha, radius, sigma, batch_size
        As of `SmoothedPredictor`.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Attributes
    ----------
    noisy_alpha : float
        alpha', the level that noisy examples are calibrated at.

    Notes
    -----
    Zargarbashi, Akhondzadeh and Bojchevski, "One sample is enough to make conformal prediction robust", 2025. With
    1 - alpha' = Phi(Phi^-1(1 - alpha) + r / sigma), noisy examples are covered with a probability of 1 - alpha' or
    more; that of each, q, falls to no less than Phi(Phi^-1(q) - r / sigma) within the radius, a convex function of q,
    so that the mean doesn't fall below 1 - alpha, by Jensen's inequality. No bound is estimated, and none can fail.
    Sets are full if alpha' (n + 1) < 1.
    """

    _least_samples = 1

    def __init__(self, score, alpha, radius=0.0, *, sigma, batch_size=4096):
        super().__init__(score, alpha, radius, sigma=sigma, samples=1, batch_size=batch_size)

    @property
    def noisy_alpha(self):
        """Phi(Phi^-1(alpha) - r / sigma): without the difference from 1."""
        return float(lowered_probability(self.alpha, self.shift))

    _level = noisy_alpha

    def _prediction_scores(self, x, generator):
        return self._over_noise(x, generator, lambda scores: scores[:, 0])
