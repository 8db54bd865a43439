"""Attacks on conformal sets: on the predictor's own score, on the margin of its network, and in random directions."""

import functools

import torch

from ..lipschitz.attacks import pgd_l2
from .scores import LAC

# Inputs at once, and of a method with noise copies of all inputs together.
AT_ONCE, COPIES_AT_ONCE = 1024, 16_384
# A gradient is that of the score if a step along it raises the score for such a share of inputs; so many are looked at,
# and the step is this share of the radius.
AGREES, CHECKED, STEP = 0.9, 32, 0.1
# Where it isn't: finite differences along so many random directions, each of this share of the radius.
DIRECTIONS, REACH = 4, 0.25
_SHRINK = 1 - 1e-6


def attack(ask, model, inputs, labels, radius, *, passes, sigma, steps, restarts, samples, seed):
    """Search for inputs, within a radius (L2) and with pixels in [0, 1], at which a class is likely to leave the sets.

    Three searches, for each fails where another doesn't: projected gradients (`pgd_l2`) on the predictor's own score,
    as it gives it; on the margin of the network, under noise of the predictor's size if it draws any; and random
    directions. What a smoothed method scores by hardly changes, or not at all, where the class wins under all of
    the noise: the log-odds' mean over noise never saturates. Noise is fresh at each step.

    If steps along the predictor's gradient don't raise the score, as where it is hidden, its search is by finite
    differences of the score. What takes more than ``samples`` passes a step is searched in as many fewer steps.

    Parameters
    ----------
    ask : callable
        ``ask(inputs, classes, seed, slope)`` returns the scores (n,) of a class for each input, under noise of that
        seed, and, if ``slope``, their gradient; else None. It needn't be trusted.
    model : torch.nn.Module
        The network, on its device, in evaluation mode.
    inputs, labels : Tensor
        (n, ...) and (n,), on the CPU.
    radius : float
    passes : float
        Of the network, that the method's score takes.
    sigma : float or None
        Of the method's noise; None if it draws none.
    steps, restarts : int
        As of `pgd_l2`.
    samples : int
        Of noise, at most, that the margin is averaged over; and of as many ``ask`` averages.
    seed : int
        Of the noise and of the restarts.

    Returns
    -------
    searches : list of Tensor (n, ...)
        What each search found.
    agreement : float
        The share of inputs for which a step along the predictor's gradient raises the score, of those where it moves at
        all; NaN if none does.
    """
    device = next((each.device for each in model.parameters()), inputs.device)
    noise = torch.Generator().manual_seed(seed)
    size, cost = AT_ONCE, passes
    if sigma is not None:
        size, cost = COPIES_AT_ONCE // samples, min(samples, passes)
    box = {"low": 0.0, "high": 1.0}
    some = slice(max(2, min(CHECKED, int(CHECKED * samples / cost))))
    agreement = _agreement(ask, inputs[some], labels[some], radius, noise)
    if agreement < AGREES:
        ask, cost = functools.partial(_by_differences, ask, radius), cost * (1 + 2 * DIRECTIONS) / 3
    fewer = max(1, min(steps, int(steps * samples / cost))), restarts if cost <= samples else 1
    own = [
        pgd_l2(_OwnScore(ask, some, noise), part, torch.zeros_like(some), radius, *fewer, seed, **box)
        for part, some in zip(inputs.split(size), labels.split(size), strict=True)
    ]
    margin = []
    for part, some in zip(inputs.to(device).split(size), labels.to(device).split(size), strict=True):
        attacked, classes = model, some
        if sigma is not None:
            attacked, classes = _UnderNoise(model, some, sigma, samples, noise), torch.zeros_like(some)
        margin.append(pgd_l2(attacked, part, classes, radius, steps, restarts, seed, **box).cpu())
    moved = _along(inputs, _directions(inputs, noise), radius * _SHRINK).clamp(0, 1)
    return [torch.cat(own), torch.cat(margin), moved], agreement


class _Asked(torch.autograd.Function):
    """Scores that are asked for, with the gradient that comes along."""

    @staticmethod
    def forward(context, inputs, ask):
        scores, gradient = ask(inputs, True)
        context.save_for_backward(gradient)
        return scores

    @staticmethod
    def backward(context, wanted):
        (gradient,) = context.saved_tensors
        return wanted.to(gradient.dtype).view(-1, *[1] * (gradient.ndim - 1)) * gradient, None


class _OwnScore:
    """Two logits of each input: the true class's score, and 0, which wins where the class is out of the set."""

    def __init__(self, ask, labels, noise):
        self._ask, self._labels, self._noise = ask, labels, noise

    def __call__(self, inputs):
        seed = _draw_seed(self._noise)

        def ask(points, slope):
            return self._ask(points.detach(), self._labels, seed, slope)

        scores = _Asked.apply(inputs, ask) if inputs.requires_grad else ask(inputs, False)[0]
        return torch.stack([scores, torch.zeros_like(scores)], dim=1)


class _UnderNoise:
    """Two logits of each input: the mean over noise of the log-odds of its class, and 0."""

    def __init__(self, model, labels, sigma, samples, noise):
        self._model, self._labels, self._sigma, self._samples, self._noise = model, labels, sigma, samples, noise

    def __call__(self, inputs):
        copies = inputs.repeat_interleave(self._samples, dim=0)
        moved = self._sigma * torch.randn(copies.shape, generator=self._noise, dtype=copies.dtype).to(copies.device)
        odds = LAC()(self._model(copies + moved)).unflatten(0, (len(inputs), self._samples)).mean(1)
        own = odds.gather(1, self._labels[:, None])
        return torch.cat([own, torch.zeros_like(own)], dim=1)


def _agreement(ask, inputs, labels, radius, noise):
    """Compare the gradient that is given with differences of its scores along it, and along a random direction."""
    seed, reach = _draw_seed(noise), STEP * radius
    _, gradient = ask(inputs, labels, seed, True)
    along, across = (
        _difference(ask, inputs, labels, seed, direction, reach)
        for direction in (_unit(gradient.nan_to_num()), _directions(inputs, noise))
    )
    moves = (along != 0) | (across != 0)
    return float((along[moves] > 0).double().mean())


def _by_differences(ask, radius, inputs, labels, seed, slope):
    """Ask for scores, and estimate their gradient by differences along random directions, on the same noise."""
    scores, _ = ask(inputs, labels, seed, False)
    if not slope:
        return scores, None
    noise, total = torch.Generator().manual_seed(seed), torch.zeros_like(inputs)
    for _ in range(DIRECTIONS):
        direction = _directions(inputs, noise)
        total += _along(
            torch.zeros_like(inputs), direction, _difference(ask, inputs, labels, seed, direction, REACH * radius)
        )
    return scores, total


def _difference(ask, inputs, labels, seed, direction, reach):
    up, down = (ask(_along(inputs, direction, sign * reach), labels, seed, False)[0] for sign in (1, -1))
    return (up - down).nan_to_num(posinf=0, neginf=0)


def _directions(like, noise):
    return _unit(torch.randn(like.shape, generator=noise, dtype=torch.float64)).to(like.dtype)


def _unit(vectors):
    norms = vectors.flatten(1).norm(dim=1)
    return vectors / torch.where(norms > 0, norms, 1).view(-1, *[1] * (vectors.ndim - 1))


def _along(inputs, direction, lengths):
    """Move inputs (n, ...) along unit vectors, by one length or each by its own."""
    if isinstance(lengths, torch.Tensor):
        lengths = lengths.to(inputs.dtype).view(-1, *[1] * (inputs.ndim - 1))
    return inputs + lengths * direction


def _draw_seed(noise):
    return int(torch.randint(2**62, (), generator=noise))
