"""Data on which coverage, clean and at the worst change of the input, is known: linear scores of Gaussian inputs."""

import torch
from scipy.stats import binom, norm

from orthobench.conformal import conformal_rank

FEATURES = 4
CLASSES = 3


class Linear:
    """Logits W x with orthonormal rows: 1-Lipschitz, and an attack moves a logit or a difference as far as it can."""

    weight = torch.eye(CLASSES, FEATURES, dtype=torch.float64)

    def __call__(self, x):
        return x.double() @ self.weight.T


def draw(count, generator, noise=0.7):
    """Return inputs (n, 4) and labels (n,): the label's feature is 1 larger, in Gaussian noise."""
    labels = torch.randint(CLASSES, (count,), generator=generator)
    inputs = noise * torch.randn(count, FEATURES, generator=generator, dtype=torch.float64)
    inputs[torch.arange(count), labels] += 1.0
    return inputs, labels


def lower_logit(x, y, radius):
    """Move inputs by a radius so that the label's logit falls the most: the worst case of the logit as score."""
    return x - radius * Linear.weight[y]


def lower_margin(x, y, radius):
    """Move inputs so that f_y - f_k falls the most, k the best other class: the worst case of the margin as score."""
    others = Linear()(x).scatter(1, y[:, None], -torch.inf).argmax(1)
    return x - radius * (Linear.weight[y] - Linear.weight[others]) / 2**0.5


def coverage_band(calibration, tests, trials, alpha, level=1e-6):
    """Return what chance allows of the mean coverage over independent data sets: (low, high), each missed with `level`.

    Of scores without ties, coverage given the calibration is a beta variable, and the hits of the test examples are
    binomial given that. The mean over `trials` data sets, 200 in the tests, is normal to what these tests can see.
    """
    rank = conformal_rank(calibration, alpha)
    mean = 1 - rank / (calibration + 1)
    variance = mean * (1 - mean) * (1 / (calibration + 2) + (1 - 1 / (calibration + 2)) / tests) / trials
    return norm.ppf([level, 1 - level], mean, variance**0.5)


def misses_allowed(trials, share, level=1e-4):
    """Return how often an event of probability `share` at most may happen in independent trials."""
    return int(binom.ppf(1 - level, trials, share))
