"""What the predictors by randomised smoothing share: noise, its budget, and the scores of noisy inputs."""

import math
from fractions import Fraction

import torch

from ...lipschitz.certificates import check_positive
from ..predictor import Claim, Predictor, check_count, true_scores
from .concentration import bernstein_radius, share_of_failure
from .sampling import gaussian_noise, noisy_scorer, reduce_over_noise


class SmoothedPredictor(Predictor):
    """A predictor whose scores are statistics of the base score under Gaussian noise on the input.

    Parameters
    ----------
    score : orthobench.conformal.Score
        The base score.
    alpha, radius
        As of `Predictor`; the radius is Euclidean.
    sigma : float
        Standard deviation of the noise of each entry, > 0, in the units of the inputs. The model should be trained with
        such noise.
    samples : int
        N, noisy copies of each input, at least 2.
    batch_size : int
        Noisy inputs at once, at least 1. Sets don't depend on it, a last bit and the draws of a randomised score aside.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    _least_samples = 2

    def __init__(self, score, alpha, radius=0.0, *, sigma, samples=256, batch_size=4096):
        super().__init__(score, alpha, radius, batch_size=batch_size)
        check_positive("sigma", sigma, "twice the radius is a usual one")
        self.sigma, self.samples = float(sigma), check_count("samples", samples, self._least_samples)

    @property
    def claim(self):
        """A `Claim` for every choice of the input within the radius that doesn't depend on the predictor's noise."""
        return Claim(self.alpha, self.radius, self.norm, "marginal")

    @property
    def forward_passes_per_input(self):
        """One of each noisy copy."""
        return float(self.samples)

    @property
    def shift(self):
        """The radius in standard deviations of the noise."""
        return self.radius / self.sigma

    def _keeps(self, score):
        """Whether a score is no less than the thresholds, where there is one."""
        thresholds = torch.as_tensor(self.threshold).flatten()
        thresholds = thresholds[thresholds > -math.inf]
        return len(thresholds) > 0 and bool((thresholds <= score).all())

    def _over_noise(self, x, generator, reduce, y=None, samples=None):
        """Return ``reduce(scores)`` of the scores (b, samples, C) of each batch, or ``reduce(scores, y)`` of labels."""
        return reduce_over_noise(
            noisy_scorer(self, x),
            lambda some, samples, drawn_by: gaussian_noise(some, samples, drawn_by).mul_(self.sigma),
            x,
            *(() if y is None else (y,)),
            samples=samples or self.samples,
            reduce=reduce,
            generator=generator,
            batch_size=self.batch_size,
        )


class BudgetedPredictor(SmoothedPredictor):
    """A smoothed predictor whose Monte Carlo bounds fail, all together, with a probability of at most `failure`.

    Each bound, one for each calibration example and one for each class of the input, gets eta / (n + C) of it, and the
    rank of the threshold is that of alpha - eta.

    Parameters
    ----------
    score, alpha, radius, sigma, samples, batch_size
        As of `SmoothedPredictor`.
    failure : float
        eta, above 0 and below alpha.
    """

    def __init__(self, score, alpha, radius=0.0, *, sigma, samples=256, failure=1e-3, batch_size=4096):
        super().__init__(score, alpha, radius, sigma=sigma, samples=samples, batch_size=batch_size)
        self.failure = check_failure("failure", failure, self.alpha)

    @property
    def _level(self):
        return less(self.alpha, self.failure)

    def _share_of_failure(self, classes):
        return share_of_failure(self.failure, self.points, classes)


def check_failure(name, failure, alpha, times=1, whose="alpha"):
    """Return a probability of failure above 0 that leaves something of alpha when it is taken off `times` times."""
    check_positive(name, failure, "0.001 is the default")
    if times * failure >= alpha:
        raise ValueError(
            f"{name} must be below {alpha / times:g} for {whose}={alpha:g}, got {failure!r}: {times} times it is what "
            f"the noise may cost of {whose}; give a smaller one."
        )
    return float(failure)


def less(alpha, *costs):
    """Return alpha minus costs, as exact as the decimal numbers that they are printed as; raise if nothing is left."""
    left = float(Fraction(str(alpha)) - sum(Fraction(str(cost)) for cost in costs))
    if left <= 0:
        raise ValueError(
            f"alpha={alpha:g} leaves nothing for the noise, which costs {sum(costs):g}; give a larger one."
        )
    return left


def check_unit_interval(score, classes):
    """Raise ValueError unless a score's values are in [0, 1]."""
    low, high = score.bounds(classes)
    if low < 0 or high > 1:
        raise ValueError(
            f"score must be in [0, 1], got {score!r}, which is in [{low:g}, {high:g}]: take LAC(bounded=True), "
            "MaxRatio(bounded=True) or APS()."
        )


def mean_with_bernstein(scores, delta):
    """Return upper confidence bounds (b, C) on the expectations of scores (b, samples, C) in [0, 1], in float64.

    The gradient is that of the mean.
    """
    scores, samples = scores.double(), scores.shape[1]
    means = scores.mean(1)
    variance = (scores - means.unsqueeze(1)).detach().square().sum(1) / (samples - 1)  # var warns where b is 0
    return means + bernstein_radius(variance, samples, delta)


def of_labels(scores, y=None):
    """Return the scores (b, samples) of labels (b,) among scores (b, samples, C); without labels, all of them."""
    if y is None:
        return scores
    samples = scores.shape[1]
    return true_scores(scores.flatten(0, 1), y.repeat_interleave(samples)).unflatten(0, (len(y), samples))


def with_gradient_of(value, stand_in):
    """Return a value whose gradient is that of another tensor: for what is a step function."""
    return value.detach() + (stand_in - stand_in.detach())
