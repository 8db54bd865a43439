"""BinCP: how often the noisy score exceeds a level is all that is certified."""

import math
from fractions import Fraction

import torch

from ..predictor import check_share
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

    Notes
    -----
    Zargarbashi and Bojchevski, "Robust conformal prediction with a single binary certificate", ICLR 2025. With K =
    ceil(p N), a calibration example's score is the K-th largest of its N noisy ones, and lambda is their threshold. By
    the one-sided bound of Clopper and Pearson at K of N, a score as high as the K-th largest has at least a probability
    p_c, and Phi(Phi^-1(p_c) - r / sigma) within the radius. A class is in the set if the c of its N scores that are at
    least lambda don't refute that probability: if the upper bound at c isn't less. That depends on c alone: the class
    is in the set if its c*-th largest noisy score is at least lambda, with the smallest count c* that doesn't refute
    it. That score is what is compared; its gradient is one of a soft count, which all noisy scores take part in.
    """

    def __init__(self, score, alpha, radius=0.0, *, sigma, samples=256, probability=0.8, failure=1e-3, batch_size=4096):
        super().__init__(score, alpha, radius, sigma=sigma, samples=samples, failure=failure, batch_size=batch_size)
        self.probability = check_share("probability", probability)

    def _calibration_scores(self, x, generator, y=None):
        return self._over_noise(
            x, generator, lambda scores, *own: _largest(of_labels(scores, *own), self._successes), y
        )

    def _prediction_scores(self, x, generator):
        self._check_points()
        return self._over_noise(x, generator, self._least_needed)

    def _least_needed(self, scores):
        """Return the c*-th largest (b, C) of noisy scores (b, samples, C); infinity if none is needed."""
        needed = self.needed_count(scores.shape[2])
        level = _largest(scores.detach(), max(needed, 1))
        value = level if needed else torch.full_like(level, math.inf)
        if not scores.requires_grad:
            return value
        # As soft as the scores are spread out, so that there is a gradient however far they are from the level.
        spread = scores.detach().std(1, keepdim=True)
        soft = ((scores - level.unsqueeze(1)) / spread.where(spread > 0, 1)).sigmoid()
        return with_gradient_of(value, soft.mean(1))

    def needed_count(self, classes):
        """Return how many of an input's noisy scores must reach the threshold for a class to be in the set.

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

    def _too_few_samples(self, classes):
        return not self.needed_count(classes)

    @property
    def _successes(self):
        return math.ceil(Fraction(str(self.probability)) * self.samples)


def _largest(scores, rank):
    """Return the scores of a rank, 1 for the largest, among those (b, samples, ...) of each input."""
    return scores.kthvalue(scores.shape[1] - rank + 1, dim=1).values
