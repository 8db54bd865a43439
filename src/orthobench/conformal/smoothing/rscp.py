"""Randomised smoothing of the score's mean: RSCP, and RSCP+, which accounts for the noise samples being finite.

The mean under Gaussian noise m(x, y) = E s(x + sigma Z, y) of a score in [0, 1] is such that Phi^-1(m) is
1/sigma-Lipschitz: within a radius r it doesn't fall below Phi(Phi^-1(m) - r / sigma).
"""

import math

import torch

from ...lipschitz.bounds.jacobian import evaluating
from ...lipschitz.certificates import check_positive
from ..predictor import Claim, as_generator, check_share, true_scores
from .concentration import bernstein_radius, hoeffding_radius, lowered_probability
from .rank_transform import RankTransform
from .smoothed import SmoothedPredictor, check_failure, check_unit_interval, less, mean_with_bernstein


class _SmoothedMean(SmoothedPredictor):
    """Means over noise of a score in [0, 1]."""

    def _mean(self, scores):
        check_unit_interval(self.score, scores.shape[2])
        return scores.double().mean(1)

    def _lowered(self, threshold):
        return float(lowered_probability(threshold, self.shift)) if threshold > -math.inf else threshold


class RSCP(_SmoothedMean):
    """Randomly smoothed conformal prediction: the threshold is lowered by what the smoothed score may lose.

    It takes means of N samples for expectations, and so guarantees nothing: its `claim` is of the kind "none".

    Parameters
    ----------
    score : orthobench.conformal.Score
        In [0, 1], as ``LAC(bounded=True)``.
    alpha, radius, sigma, samples, batch_size
        As of `SmoothedPredictor`.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these; at calibration, if the score isn't in [0, 1].

    Notes
    -----
    Gendler, Weng, Daniel and Romano, "Adversarially robust conformal prediction", ICLR 2022: with the k-th smallest of
    the calibration examples' means, tau, a class is in the set if Phi^-1(m) + r / sigma >= Phi^-1(tau).
    """

    @property
    def claim(self):
        """A `Claim` of nothing."""
        return Claim(self.alpha, self.radius, self.norm, "none")

    def _prediction_scores(self, x, generator):
        return self._over_noise(x, generator, self._mean)

    def _threshold(self, scores):
        return self._lowered(super()._threshold(scores))


class RSCPPlus(_SmoothedMean):
    """RSCP with Monte Carlo corrections: its guarantee holds for the samples that it draws.

    Parameters
    ----------
    score, alpha, radius, sigma, samples, batch_size
        As of `RSCP`; with `transform`, any score.
    failure : float
        beta, above 0 and below alpha / 2: what each of two bounds, for the example at hand, fails with.
    transform : bool
        Whether the score is first replaced by its rank among those of a hold-out set, and that by a sigmoid: the
        post-training transformation, `RankTransform`.
    hold_out : float
        Share of what `calibrate` gets that the ranks are taken from, strictly between 0 and 1. It is drawn at random
        and not calibrated with, so that methods with and without it use the same examples.
    temperature : float
        T' > 0, of the sigmoid.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these; at calibration, if the score isn't in [0, 1].

    Notes
    -----
    Yan, Romano and Weng, "Provably robust conformal prediction with improved efficiency", ICLR 2024. tau is the
    threshold at alpha - 2 beta; the mean of the clean example is less than b_H = sqrt(ln(1 / beta) / (2 N)) above its
    expectation, and that of the input given less than b_B, the empirical Bernstein radius, below its own:

        m + b_B >= Phi(Phi^-1(tau - b_H) - r / sigma),    a full set if tau <= b_H.

    The radius b_B is that of each input and class.
    """

    def __init__(
        self,
        score,
        alpha,
        radius=0.0,
        *,
        sigma,
        samples=256,
        failure=1e-3,
        transform=False,
        hold_out=0.2,
        temperature=1 / 400,
        batch_size=4096,
    ):
        super().__init__(score, alpha, radius, sigma=sigma, samples=samples, batch_size=batch_size)
        self.failure = check_failure("failure", failure, self.alpha, 2)
        self.transform, self.base_score = bool(transform), self.score
        self.hold_out = check_share("hold_out", hold_out)
        check_positive("temperature", temperature, "1/400 is the default")
        self.temperature = float(temperature)

    def attach(self, model):
        self.score = self.base_score  # ranks are of the other model's scores
        return super().attach(model)

    def _fit(self, x, y, generator):
        if not self.transform:
            return x, y
        x, y = self._examples(x, y)
        held_out, kept = _split(len(x), self.hold_out, generator)
        self.fit_transform(x[held_out], y[held_out], generator=generator)
        return x[kept], y[kept]

    def fit_transform(self, x, y, *, generator=None):
        """Take the ranks from examples, which must be used neither for calibration nor for training.

        Parameters
        ----------
        x, y, generator
            As of `calibrate`, which does this with a part of what it gets. At least one example; one noisy copy of each
            is scored.

        Returns
        -------
        RSCPPlus
            Itself.
        """
        self._check_model()
        (x, y), self.score = self._examples(x, y), self.base_score
        generator = as_generator(generator, x.device)
        with evaluating(self.model):
            scores = self._over_noise(x, generator, lambda scores, own: true_scores(scores[:, 0], own), y, samples=1)
        return self._rank(scores)

    def _rank(self, hold_out):
        self.score = RankTransform(self.base_score, self.alpha, hold_out, temperature=self.temperature)
        return self

    def _prediction_scores(self, x, generator):
        self._check_transform()
        return self._over_noise(x, generator, self._upper)

    def _upper(self, scores):
        check_unit_interval(self.score, scores.shape[2])
        return mean_with_bernstein(scores, self.failure)

    def _calibration_scores(self, x, generator, y=None):
        self._check_transform()
        return self._over_noise(x, generator, lambda scores, *own: true_scores(self._mean(scores), *own), y)

    @property
    def _level(self):
        return less(self.alpha, self.failure, self.failure)

    def _too_few_samples(self, classes):
        # Means are at least 0, and so are variances.
        return self._keeps(bernstein_radius(0.0, self.samples, self.failure))

    def _options(self):
        return super()._options() | {"score": self.base_score}

    def _threshold(self, scores):
        tau = super()._threshold(scores)
        return self._lowered(max(0.0, tau - hoeffding_radius(self.samples, self.failure)))

    def _check_transform(self):
        if self.transform and self.score is self.base_score:
            raise RuntimeError("RSCPPlus has no hold-out scores yet: call calibrate, or fit_transform, first.")


def _split(count, share, generator):
    """Return the places of a random share of examples, at least one, and those of the others."""
    held_out = max(1, round(check_share("hold_out", share) * count))
    if held_out >= count:
        raise ValueError(
            f"a hold-out set of {held_out} leaves none of {count} examples to calibrate with; give more, or take "
            "transform=False."
        )
    device = None if generator is None else generator.device
    order = torch.randperm(count, generator=generator, device=device).cpu()
    return order[:held_out], order[held_out:]
