"""An audit in one run: canaries in the space of gradients, and the epsilon that their detection proves.

Steinke, Nasr & Jagielski, "Privacy auditing with one (1) training run" (NeurIPS 2023): each of m canaries is part of
the data with probability 1/2; after the run the auditor guesses for some of them whether it was. An (epsilon, delta)-
private run allows for only so many right guesses.
"""

import math

import numpy as np
import torch
from scipy import stats

from ..models.checks import check_integer
from .accounting import check_delta
from .transcript import check_rate

CONFIDENCE = 0.999
CANARIES = 1000

# Of the canaries, the share that is guessed: those with the highest and the lowest scores, as many of each.
GUESSED = 0.5

LARGEST_EPSILON = 50.0


class Canaries:
    """Adds canaries to the private gradients of a run, and scores them.

    A canary is an example whose gradient is, in each step anew, one random coordinate with a random sign in each block,
    as long as the block's bound allows; as one of the data it is part of each batch with the sampling rate. Its score
    is the sum over steps of the inner product with the private gradient, in units of the claimed noise.

    Parameters
    ----------
    count : int
        m, at least 2.
    sampling_rate : float
    seed : int
        Of the inclusion, the samples and the coordinates.

    Attributes
    ----------
    included : numpy.ndarray
        (m,), bool: whether each is one of the data.
    scores : numpy.ndarray
        (m,), float64.
    """

    def __init__(self, count, sampling_rate, seed):
        self.count, self.sampling_rate = check_integer("count", count, 2), check_rate(sampling_rate)
        self._random = np.random.default_rng(seed)
        self.included = self._random.random(self.count) < 0.5
        self.scores = np.zeros(self.count)

    def add(self, gradients, blocks, known=None):
        """Add the canaries of one step to the private mean gradients, in place, and score them all.

        Parameters
        ----------
        gradients : dict of str to torch.Tensor
        blocks : sequence of Block
            As claimed for this step. With fewer entries in a block than canaries, some share one.
        known : dict of str to torch.Tensor, optional
            What the examples add to the gradients, which the auditor knows: it is taken off in the scores.
        """
        sampled = self.included & (self._random.random(self.count) < self.sampling_rate)
        for block in blocks:
            if not block.bound > 0:
                continue
            entries = [gradients[name].view(-1) for name in block.names]
            total = sum(map(len, entries))
            places = self._random.choice(total, self.count, replace=total < self.count)
            signs = self._random.choice((-1.0, 1.0), self.count)
            flat = _flat(gradients, block)
            np.add.at(flat, places, sampled * signs * block.bound)
            seen = flat if known is None else flat - _flat(known, block)
            self.scores += signs * seen[places] * block.bound / block.std**2
            changed = torch.from_numpy(flat).to(entries[0]).split([len(each) for each in entries])
            for each, new in zip(entries, changed, strict=True):
                each.copy_(new)

    def lower_bound(self, delta, confidence=CONFIDENCE, guessed=GUESSED):
        """Return (epsilon from below, right guesses, guesses), with the share of guesses fixed beforehand."""
        guesses = 2 * max(1, int(self.count * guessed) // 2)
        right = right_guesses(self.scores, self.included, guesses)
        return epsilon_lower_bound(self.count, guesses, right, delta, confidence), right, guesses


def _flat(gradients, block):
    return torch.cat([gradients[name].flatten() for name in block.names]).double().cpu().numpy()


def right_guesses(scores, included, guesses):
    """Count the right ones among guesses that the highest scores are of included canaries, the lowest of others.

    Parameters
    ----------
    scores, included : numpy.ndarray
        (m,).
    guesses : int
        Even, at most m: half of them of each kind.

    Returns
    -------
    int
    """
    guesses = check_integer("guesses", guesses, 2, len(scores))
    order = np.argsort(scores, kind="stable")
    lowest, highest = order[: guesses // 2], order[-(guesses // 2) :]
    return int(included[highest].sum() + (~included[lowest]).sum())


def epsilon_lower_bound(canaries, guesses, right, delta, confidence=CONFIDENCE):
    """Return the largest epsilon that is disproved at a level of confidence, 0 if none is.

    Parameters
    ----------
    canaries : int
        m.
    guesses, right : int
        How many were guessed, and how many of these rightly.
    delta : float
        In (0, 1).
    confidence : float
        In (0, 1).

    Returns
    -------
    float
        At most 50.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r}: give one in (0, 1), such as {CONFIDENCE}")
    check_integer("guesses", guesses, 1, check_integer("canaries", canaries, 1))
    check_integer("right", right, 0, guesses)
    check_delta(delta)

    def disproved(epsilon):
        return chance_of_guesses(canaries, guesses, right, epsilon, delta) < 1 - confidence

    low, high = 0.0, LARGEST_EPSILON
    if not disproved(low):
        return 0.0
    if disproved(high):
        return high
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if disproved(middle) else (low, middle)
    return low


def chance_of_guesses(canaries, guesses, right, epsilon, delta):
    """Bound the probability of that many right guesses or more, for an (epsilon, delta)-private run.

    Theorem 5.2 of Steinke et al.: with X ~ Binomial(r, e^epsilon / (1 + e^epsilon)), for v right ones of r guesses
    about m canaries, P[X >= v] + 2 m delta max_i P[v > X >= v - i] / i.

    Parameters
    ----------
    canaries, guesses, right : int
    epsilon, delta : float

    Returns
    -------
    float
    """
    chance = 1 / (1 + math.exp(-epsilon))
    beyond = stats.binom.sf(right - 1, guesses, chance)
    if not right:
        return 1.0
    below = np.cumsum(stats.binom.pmf(right - np.arange(1, right + 1), guesses, chance))
    steepest = float((below / np.arange(1, right + 1)).max())
    return min(1.0, float(beyond) + 2 * canaries * delta * steepest)


def simulated_bounds(
    noise_multiplier,
    sampling_rate,
    steps,
    canaries,
    delta,
    repetitions=20,
    seed=0,
    confidence=CONFIDENCE,
    guessed=GUESSED,
):
    """Simulate what the audit of a mechanism would find: scores are normal around the number of samples.

    Without the gradients of the examples, and with a coordinate for each canary, an included canary's score is
    (k + sqrt(T) s Z) / s^2 with k ~ Binomial(T, q), another's sqrt(T) Z / s.

    Parameters
    ----------
    noise_multiplier : float
        The true one, of each step: 0 for noise that is left out.
    sampling_rate : float
    steps, canaries : int
    delta : float
    repetitions, seed : int
    confidence, guessed : float
        As of `Canaries.lower_bound`.

    Returns
    -------
    numpy.ndarray
        (repetitions,): lower bounds of epsilon.
    """
    random = np.random.default_rng(seed)
    bounds = []
    for _ in range(check_integer("repetitions", repetitions, 1)):
        simulated = Canaries(canaries, sampling_rate, int(random.integers(2**31)))
        samples = random.binomial(steps, sampling_rate, canaries) * simulated.included
        simulated.scores = samples + math.sqrt(steps) * noise_multiplier * random.standard_normal(canaries)
        bounds.append(simulated.lower_bound(delta, confidence, guessed)[0])
    return np.array(bounds)
