"""CAS: the smoothed score's whole distribution bounds how much its mean may fall."""

import torch

from .concentration import bernstein_radius, dkw_radius, lowered_probability
from .smoothed import BudgetedPredictor, check_unit_interval, mean_with_bernstein, of_labels


class CAS(BudgetedPredictor):
    """CDF-aware sets, with the bounds at calibration time.

    Parameters
    ----------
    score : orthobench.conformal.Score
        In [0, 1], as ``LAC(bounded=True)``.
    alpha, radius, sigma, samples, failure, batch_size
        As of `BudgetedPredictor`.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these; at calibration, if the score isn't in [0, 1].

    Notes
    -----
    Zargarbashi, Akhondzadeh and Bojchevski, "Robust yet efficient conformal prediction sets", ICML 2024. A calibration
    example scores the least mean that its true class may have within the radius, `lowest_mean`. A class is in the set
    of an input if its mean and the Bernstein radius together are at least the threshold. Scores that are kept, for
    `calibrate_scores` to take a part of, have bounds for as many examples as were scored together, which is valid.
    """

    def _calibration_scores(self, x, generator, y=None):
        return self._over_noise(x, generator, self._lowest, y)

    def _lowest(self, scores, y=None):
        classes = scores.shape[2]
        check_unit_interval(self.score, classes)
        own = scores.movedim(2, 1).flatten(0, 1) if y is None else of_labels(scores, y)
        lowest = lowest_mean(own, self.shift, self._share_of_failure(classes))
        return lowest.unflatten(0, (len(scores), classes)) if y is None else lowest

    def _prediction_scores(self, x, generator):
        self._check_points()
        return self._over_noise(x, generator, self._upper)

    def _upper(self, scores):
        return mean_with_bernstein(scores, self._share_of_failure(scores.shape[2]))

    def _too_few_samples(self, classes):
        # Means are at least 0, and so are variances.
        return self._keeps(bernstein_radius(0.0, self.samples, self._share_of_failure(classes)))


def lowest_mean(samples, shift, delta):
    """Return the least mean that scores may have when their noise is moved, from samples of the noise as it is.

    Parameters
    ----------
    samples : Tensor (b, N)
        Scores in [0, 1] of N noisy copies of each input.
    shift : float
        How far the input may be moved, in standard deviations of the noise, at least 0.
    delta : float
        In (0, 1/2]: the probability that the true least mean is less.

    Returns
    -------
    Tensor (b,) float64

    Notes
    -----
    With the samples sorted, b_0 = 0 <= b_1 <= ... <= b_N <= b_(N+1) = 1, the distribution function is at most F_i =
    min(1, i / N + e) in [b_i, b_(i+1)), e the radius of Dvoretzky, Kiefer and Wolfowitz. Moved noise makes it at most
    Phi(Phi^-1(F_i) + shift), so that the mean is at least

        sum over i of (b_(i+1) - b_i) Phi(Phi^-1(1 - F_i) - shift),

    the integral of that step function itself: not of one that takes F at the right end of each step.
    """
    count = samples.shape[1]
    radius = dkw_radius(count, delta)
    steps = torch.arange(count + 1, dtype=torch.float64)
    above = (1 - steps / count - radius).clamp(min=0).numpy()
    weights = torch.as_tensor(lowered_probability(above, shift)).to(samples.device)
    ordered = samples.double().sort(dim=1).values
    ends = ordered.new_zeros(len(ordered), 1), ordered.new_ones(len(ordered), 1)
    widths = torch.diff(ordered, dim=1, prepend=ends[0], append=ends[1])
    return widths @ weights
