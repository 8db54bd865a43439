"""Attacks on a predictor's own score of the true class."""

import copy

import torch

from ...conformal import SplitConformal
from ...lipschitz.attacks import pgd_l2
from ...lipschitz.bounds.jacobian import evaluating

# Inputs at once, and of a smoothed method noisy copies of all inputs together.
AT_ONCE, COPIES_AT_ONCE = 1024, 16_384


def attack(predictor, inputs, labels, radius, *, steps, restarts, samples, seed):
    """Search for inputs, within a radius (L2) and with pixels in [0, 1], at which the true classes' scores are low.

    Projected gradients on `true_class_score`, by `pgd_l2`. The score of a method that draws noise is averaged over
    fresh noise at each step. A method whose scores are bounds by a verifier is attacked by the clean score of its
    network: a gradient of its own would take the verifier at each step.

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
        The inputs with the lowest scores found, the clean ones among them.
    """
    target = _target(predictor, samples)
    size = AT_ONCE if not hasattr(target, "sigma") else max(1, COPIES_AT_ONCE // target.samples)
    found = []
    for part, own in zip(inputs.split(size), labels.split(size), strict=True):
        noise = torch.Generator(part.device).manual_seed(seed)
        model, inside = _AgainstTheScore(target, own, noise), torch.zeros_like(own)
        found.append(pgd_l2(model, part, inside, radius, steps, restarts, seed, low=0.0, high=1.0))
    return torch.cat(found)


class _AgainstTheScore:
    """Two logits of each input: the true class's score, and 0, which wins where the class is out of the set."""

    def __init__(self, predictor, labels, noise):
        self.predictor, self.labels, self.noise = predictor, labels, noise

    def __call__(self, inputs):
        scores = self.predictor.true_class_score(inputs, self.labels, generator=self.noise)
        return torch.stack([scores, torch.zeros_like(scores)], dim=1)


def _target(predictor, samples):
    """Return the predictor whose score is attacked: the same, with fewer samples, or the clean score of its network."""
    if hasattr(predictor, "sigma"):
        target = copy.copy(predictor)
        target.samples = min(predictor.samples, samples)
        return target
    if predictor.forward_passes_per_input > 1:
        clean = SplitConformal(predictor.score, predictor.alpha).attach(predictor.model)
        clean.threshold = predictor.threshold
        return clean
    return predictor


def largest_quotient(model, inputs, others):
    """Return the largest ||f(y) - f(x)|| / ||y - x|| of pairs that differ; 0 if none do."""
    with evaluating(model):
        changed = (model(others).double() - model(inputs).double()).norm(dim=1)
    moved = (others.double() - inputs.double()).flatten(1).norm(dim=1)
    # Shorter pairs are rounding.
    quotients = torch.where(moved > 1e-3, changed / moved.clamp(min=1e-3), 0)
    return float(quotients.max()) if len(quotients) else 0.0
