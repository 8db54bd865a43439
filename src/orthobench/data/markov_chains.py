"""Text of a Markov chain: the least loss that any model can reach on it is known exactly."""

import bisect
import numbers
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import entr

from orthobench.data.parts import Parts, Windows
from orthobench.models.checks import check_integer
from orthobench.models.reproducible import LARGEST_SEED

LARGEST_VOCABULARY = {1: 1024, 2: 128}  # by order: about 2 million probabilities at most
CONCENTRATIONS = (0.05, 10_000)
MOST_ITERATIONS = 10_000


class Markov(NamedTuple):
    """A text from `markov`, and what the chain itself, the best of all models, loses on it, in nats a token.

    `parts` are Windows of int64 tokens. `entropy_rate` is the entropy of the next token given the whole past. `floor`
    is the expected loss of the best model on a held-out window, which knows no token before the window: the entropy
    rate for order 1, a little more for order 2. `empirical` is the loss of that model on the held-out windows of
    `parts`; its expectation is `floor`. Another model can be below it by chance, and in expectation never.
    """

    parts: Parts
    entropy_rate: float
    floor: float
    empirical: float


def markov(seed, context, vocabulary=64, order=1, length=1_000_000, concentration=0.1):
    """Sample a text from a random stationary Markov chain, whose entropy rate is computed in float64.

    For each history of `order` tokens, the law of the next token is drawn once from the symmetric Dirichlet
    distribution. Train, tuning and held out are three independent chains with these laws, each whole, from first to
    last token, and each started in the stationary distribution.

    Parameters
    ----------
    seed : int
        Decides the laws and the chains, in 0..2**63 - 1.
    context : int
        Tokens in a window, at least 1. Training windows start at every token, the others every `context`.
    vocabulary : int
        Number of different tokens, in 2..1024, or 2..128 for order 2.
    order : {1, 2}
        How many tokens the next one depends on.
    length : int
        Tokens of the training text; the two others have a tenth each, which must be more than `context`.
    concentration : float
        Parameter of the Dirichlet distribution, in 0.05..10000: the smaller, the more predictable the text.

    Returns
    -------
    Markov
        Parts and losses.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    ArithmeticError
        If the chain is too slow to mix for its stationary distribution to be computed.
    """
    seed = check_integer("seed", seed, 0, LARGEST_SEED)
    context = check_integer("context", context, 1)
    order = check_integer("order", order, 1, max(LARGEST_VOCABULARY))
    vocabulary = check_integer("vocabulary", vocabulary, 2, LARGEST_VOCABULARY[order])
    length = check_integer("length", length, 10 * (context + 1))
    concentration = _check_concentration(concentration)
    laws, *chains = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(4))
    transitions = laws.dirichlet(np.full(vocabulary, concentration), size=(vocabulary,) * order)
    stationary = _stationary(transitions)
    train, tuning, held_out = (
        torch.from_numpy(_sample(transitions, stationary, size, chain))
        for size, chain in zip((length, length // 10, length // 10), chains, strict=True)
    )
    parts = Parts(Windows(train, context, 1), Windows(tuning, context, context), Windows(held_out, context, context))
    first, single = _first_step(transitions, stationary)
    entropy_rate = _entropy(transitions, stationary)
    floor = (_entropy(first, single) + (context - 1) * entropy_rate) / context
    return Markov(parts, entropy_rate, floor, _loss(transitions, first, parts.held_out))


def _stationary(transitions):
    """Distribution of a history: (vocabulary,) * order, the last token in the last dimension."""
    histories = transitions.shape[:-1]
    weights = np.full(histories, 1 / np.prod(histories))
    for _ in range(MOST_ITERATIONS):
        # The oldest token is forgotten: sum over the first dimension.
        moved = np.einsum("a...,a...b->...b", weights, transitions)
        change = np.abs(moved - weights).sum()
        # Half a step: it also converges where the chain nearly has a period.
        weights = (weights + moved) / (weights + moved).sum()
        if change <= 1e-14:
            return weights
    raise ArithmeticError(
        f"the chain mixes too slowly: after {MOST_ITERATIONS} iterations its stationary distribution still changes by "
        f"{change:.1e}; give a larger concentration or vocabulary, or another seed"
    )


def _sample(transitions, stationary, size, generator):
    vocabulary, order = transitions.shape[-1], stationary.ndim
    # Without its last entry, which is 1 up to rounding, a row never leads to a token that does not exist.
    bounds = transitions.cumsum(axis=-1)[..., :-1].reshape(-1, vocabulary - 1).tolist()
    start, *draws = generator.random(1 + size - order).tolist()
    history = bisect.bisect(stationary.cumsum()[:-1].tolist(), start)
    tokens = list(np.unravel_index(history, stationary.shape))
    for draw in draws:
        token = bisect.bisect(bounds[history], draw)
        tokens.append(token)
        history = (history * vocabulary + token) % len(bounds)
    return np.array(tokens, dtype=np.int64)


def _first_step(transitions, stationary):
    """Law of a window's second token given its first, which is all that is known then; distribution of the first."""
    if stationary.ndim == 1:
        return transitions, stationary
    single = stationary.sum(axis=1)
    return stationary / single[:, None], single


def _entropy(laws, weights):
    return float((weights * entr(laws).sum(axis=-1)).sum())


def _loss(transitions, first, windows):
    inputs, targets = (side.numpy() for side in windows[torch.arange(len(windows))])
    probabilities = np.empty(inputs.shape)
    if transitions.ndim == 2:
        probabilities[:] = transitions[inputs, targets]
    else:
        probabilities[:, 0] = first[inputs[:, 0], targets[:, 0]]
        probabilities[:, 1:] = transitions[inputs[:, :-1], inputs[:, 1:], targets[:, 1:]]
    return float(-np.log(probabilities).mean())


def _check_concentration(value):
    low, high = CONCENTRATIONS
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"concentration is {value!r}: give a number in {low}..{high}")
    if not low <= value <= high:
        raise ValueError(f"concentration is {value!r}: give a number in {low}..{high}")
    return float(value)
