"""aPRCP: sets that hold under random noise of bounded length, not under the worst."""

import math

import torch

from .predictor import Claim, Predictor, check_count, check_share
from .smoothing.concentration import clopper_pearson_lower
from .smoothing.sampling import noisy_scorer, reduce_over_noise, uniform_in_ball
from .smoothing.smoothed import check_failure, less, of_labels


class APRCP(Predictor):
    """Adaptive probabilistically robust conformal prediction: a quantile over examples of quantiles over noise.

    Parameters
    ----------
    score : orthobench.conformal.Score
    alpha : float
        Strictly between 0 and 1: the largest share of misses, over examples and noise together.
    radius : float
        Of the Euclidean ball that noise is uniform in, at least 0.
    samples : int
        N, noisy copies of each calibration example, at least 1. Inputs are evaluated as they are.
    inner_alpha : float, optional
        Share of the noise that may put an example that counts as covered out of its set, above 0 and below alpha; by
        default alpha / 2.
    failure : float
        eta > 0, that the samples may mislead about one example with. Less than what the inner share leaves of alpha.
    batch_size : int
        Inputs, or noisy copies, at once.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Attributes
    ----------
    outer_alpha : float
        1 - (1 - alpha) / (1 - inner_alpha), the share of examples that aren't covered under enough of the noise.

    Notes
    -----
    Ghosh, Shi, Belkhouja, Yan, Doppa and Jones, "Probabilistically robust conformal prediction", UAI 2023. What it
    guarantees, with noise D uniform in the ball, is

        P_(X, Y)( P_D( Y in C(X + D) ) >= 1 - inner_alpha ) >= 1 - outer_alpha,

    so that P( Y in C(X + D) ) >= 1 - alpha. The paper adds a slack to both levels; here the inner one is exact: an
    example scores the j-th smallest of its N noisy scores, with the largest j at which N - j + 1 of N is evidence, by
    Clopper and Pearson's bound at eta, for a probability of at least 1 - inner_alpha. The threshold is that of those at
    outer_alpha - eta. Sets are full if (1 - inner_alpha)^N > eta.
    """

    def __init__(self, score, alpha, radius=0.0, *, samples=512, inner_alpha=None, failure=1e-3, batch_size=4096):
        super().__init__(score, alpha, radius, batch_size=batch_size)
        self.samples = check_count("samples", samples)
        self.inner_alpha = self.alpha / 2 if inner_alpha is None else check_share("inner_alpha", inner_alpha)
        self.failure = check_failure("failure", failure, self.outer_alpha, whose="outer_alpha")

    @property
    def outer_alpha(self):
        """What the inner share leaves of alpha."""
        if self.inner_alpha >= self.alpha:
            raise ValueError(
                f"inner_alpha must be below alpha, {self.alpha:g}, got {self.inner_alpha:g}; alpha / 2 is the default."
            )
        return 1 - (1 - self.alpha) / (1 - self.inner_alpha)

    @property
    def claim(self):
        """A `Claim` for noise that is uniform in the ball."""
        return Claim(self.alpha, self.radius, self.norm, "random_noise")

    @property
    def inner_rank(self):
        """Which of an example's noisy scores counts, in ascending order; 0 if N samples are too few for any to."""
        ranks = torch.arange(1, self.samples + 1)
        least = clopper_pearson_lower((self.samples - ranks + 1).numpy(), self.samples, self.failure)
        return int((least >= 1 - self.inner_alpha).sum())

    def _prediction_scores(self, x, generator):
        return self._scores(x, generator)

    def _calibration_scores(self, x, generator, y=None):
        rank = self.inner_rank

        def low_quantile(scores, *own):
            low = of_labels(scores, *own).kthvalue(max(rank, 1), dim=1).values
            return low if rank else torch.full_like(low, -math.inf)

        return reduce_over_noise(
            noisy_scorer(self, x),
            lambda some, samples, drawn_by: uniform_in_ball(some, samples, drawn_by, self.radius),
            x,
            *(() if y is None else (y,)),
            samples=self.samples,
            reduce=low_quantile,
            generator=generator,
            batch_size=self.batch_size,
        )

    @property
    def _level(self):
        return less(self.outer_alpha, self.failure)

    def _too_few_samples(self, classes):
        return not self.inner_rank
