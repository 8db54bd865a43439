"""BinCP: how often the noisy score exceeds a level is all that is certified."""

import math
from fractions import Fraction

from ..predictor import check_share
from ..quantile import at_least
from .concentration import clopper_pearson_lower, clopper_pearson_upper, lowered_probability
from .smoothed import BudgetedPredictor, of_labels, with_gradient_of


class BinCP(BudgetedPredictor):
    """Robust conformal sets with a single binary certificate, for a fixed probability p.

    Parameters
    ----------
    score : orthobench.conformal.Score
        Any; it needn't be bounded.
    alpha, radius, sigma, samples, failure, batch_size
        As of `BudgetedPredictor`.
    probability : float
        p, strictly between 0 and 1: the share of a calibration example's noisy scores that are to exceed its level.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Attributes
    ----------
    level : float
        lambda, that noisy scores are compared with; None before calibration.

    Notes
    -----
    Zargarbashi and Bojchevski, "Robust conformal prediction with a single binary certificate", ICLR 2025. With K =
    ceil(p N), a calibration example's score is the K-th largest of its N noisy ones, and lambda is their threshold. By
    the one-sided bound of Clopper and Pearson at K of N, a score as high as the K-th largest has at least a probability
    p_c, and Phi(Phi^-1(p_c) - r / sigma) within the radius. A class is in the set if the c of its N scores that are at
    least lambda don't refute that probability: if the upper bound at c isn't less. What is compared is c, with the
    smallest count that doesn't refute it.
    """

    reusable_scores = False  # the level is part of them

    def __init__(self, score, alpha, radius=0.0, *, sigma, samples=256, probability=0.8, failure=1e-3, batch_size=4096):
        super().__init__(score, alpha, radius, sigma=sigma, samples=samples, failure=failure, batch_size=batch_size)
        self.probability = check_share("probability", probability)
        self.level = None

    def _calibration_scores(self, x, y, generator):
        return self._over_noise(x, generator, self._level_of_each, y)

    def _level_of_each(self, scores, y):
        return of_labels(scores, y).kthvalue(self.samples - self._successes + 1, dim=1).values

    def _threshold(self, scores):
        self.level = super()._threshold(scores)
        return 0.0

    def _prediction_scores(self, x, generator):
        self._check_calibrated()
        return self._over_noise(x, generator, self._excess)

    def _excess(self, scores):
        """Return by which share of the samples the count of scores that reach the level exceeds what is needed."""
        reached = at_least(scores.detach(), self.level)
        excess = (reached.sum(1) - self.needed_count(scores.shape[2])).double() / self.samples
        if not scores.requires_grad or self.level == -math.inf:
            return excess
        # A soft count: as soft as each class's scores are spread out, so that it keeps a gradient far from the level.
        spread = scores.detach().double().std(1, keepdim=True)
        soft = ((scores.double() - self.level) / spread.where(spread > 0, 1)).sigmoid()
        return with_gradient_of(excess, soft.mean(1))

    def needed_count(self, classes):
        """Return how many of an input's noisy scores must reach the level for a class to be in the set.

        Parameters
        ----------
        classes : int
            C, which the probability of failure is divided by, together with the number of calibration examples.

        Returns
        -------
        int
            In 0..samples.
        """
        delta = self._share_of_failure(classes)
        least = lowered_probability(clopper_pearson_lower(self._successes, self.samples, delta), self.shift)
        return int((clopper_pearson_upper(range(self.samples + 1), self.samples, delta) < least).sum())

    @property
    def _successes(self):
        return math.ceil(Fraction(str(self.probability)) * self.samples)
