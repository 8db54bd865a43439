"""Attacks on a predictor's own score of the true class."""

import copy

import torch

from ...conformal import LAC, SplitConformal
from ...lipschitz.attacks import pgd_l2
from ...lipschitz.bounds.jacobian import evaluating

# Inputs at once, and of a smoothed method noisy copies of all inputs together.
AT_ONCE, COPIES_AT_ONCE = 1024, 16_384


def attack(predictor, inputs, labels, radius, *, steps, restarts, samples, seed):
    """Search for inputs, within a radius (L2) and with pixels in [0, 1], at which the true classes' scores are low.

    Projected gradients, by `pgd_l2`, on `true_class_score`. What a smoothed method scores by is a mean or a count over
    noise, which hardly changes, or not at all, where the class wins under all of the noise: there an attack would keep
    what it began with. So these are attacked a second time, on the mean over noise of the log-odds, which never
    saturates; noise is fresh at each step. Of both results the one with the lower score is kept. A method whose scores
    are bounds by a verifier is attacked by the clean score of its network: each gradient of its own would take the
    verifier.

    Parameters
    ----------
    predictor : Predictor
        Calibrated.
    inputs, labels : Tensor
        (n, ...) and (n,).
    radius : float
    steps, restarts : int
        As of `pgd_l2`.
    samples : int
        Of a smoothed method's noise, at most.
    seed : int
        Of the noise and of the restarts.

    Returns
    -------
    Tensor (n, ...)
        The inputs with the lowest scores found.
    """
    targets = _targets(predictor, samples)
    size = COPIES_AT_ONCE // targets[0].samples if hasattr(predictor, "sigma") else AT_ONCE
    found = []
    for part, own in zip(inputs.split(size), labels.split(size), strict=True):
        noise = torch.Generator(part.device).manual_seed(seed)
        inside = torch.zeros_like(own)
        best = None
        for target in targets:
            model = _AgainstTheScore(target, own, noise)
            other = pgd_l2(model, part, inside, radius, steps, restarts, seed, low=0.0, high=1.0)
            best = other if best is None else _lower(predictor, best, other, own, seed)
        found.append(best)
    return torch.cat(found)


@torch.no_grad()
def _lower(predictor, first, second, labels, seed):
    """Return of each pair of inputs the one with the lower score of the label, on the same noise; second of equals."""
    scores = [
        predictor.prediction_scores(each, generator=torch.Generator(each.device).manual_seed(seed))
        .gather(1, labels[:, None])
        .squeeze(1)
        for each in (first, second)
    ]
    keeps = (scores[0] < scores[1]).view(-1, *[1] * (first.ndim - 1))
    return torch.where(keeps, first, second)


class _AgainstTheScore:
    """Two logits of each input: the true class's score, and 0, which wins where the class is out of the set."""

    def __init__(self, predictor, labels, noise):
        self.predictor, self.labels, self.noise = predictor, labels, noise

    def __call__(self, inputs):
        scores = self.predictor.true_class_score(inputs, self.labels, generator=self.noise)
        return torch.stack([scores, torch.zeros_like(scores)], dim=1)


class _MeanLogOdds(SplitConformal):
    """The mean of the log-odds under the noise of another predictor."""

    def __init__(self, predictor, samples):
        super().__init__(LAC(), predictor.alpha)
        self.sigma, self.samples = predictor.sigma, samples

    def _prediction_scores(self, x, generator):
        copies = x.repeat_interleave(self.samples, dim=0)
        noise = torch.randn(copies.shape, generator=generator, dtype=x.dtype, device=x.device)
        scores = self.score(self._logits(copies + self.sigma * noise), generator)
        return scores.unflatten(0, (len(x), self.samples)).mean(1)


def _targets(predictor, samples):
    """Return the predictors whose scores are attacked: see `attack`."""
    if hasattr(predictor, "sigma"):
        own = copy.copy(predictor)
        own.samples = min(predictor.samples, samples)
        return [own, _MeanLogOdds(predictor, own.samples).attach(predictor.model)]
    if predictor.forward_passes_per_input > 1:
        clean = SplitConformal(predictor.score, predictor.alpha).attach(predictor.model)
        clean.threshold = predictor.threshold
        return [clean]
    return [predictor]


def largest_quotient(model, inputs, others):
    """Return the largest ||f(y) - f(x)|| / ||y - x|| of pairs that differ; 0 if none do."""
    with evaluating(model):
        changed = (model(others).double() - model(inputs).double()).norm(dim=1)
    moved = (others.double() - inputs.double()).flatten(1).norm(dim=1)
    # Shorter pairs are rounding.
    quotients = torch.where(moved > 1e-3, changed / moved.clamp(min=1e-3), 0)
    return float(quotients.max()) if len(quotients) else 0.0
