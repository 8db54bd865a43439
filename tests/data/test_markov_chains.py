"""The Markov text obeys its laws, and the losses reported with it are those of the exact formulas."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from orthobench.data import markov, markov_chains

ORDERS = (1, 2)


@pytest.fixture
def laws(monkeypatch):
    """The transitions of the last text made."""
    seen = []
    sample = markov_chains._sample

    def record(transitions, *others):
        seen.append(transitions)
        return sample(transitions, *others)

    monkeypatch.setattr(markov_chains, "_sample", record)
    return lambda: seen[-1]


def as_pairs(transitions):
    """Order 2 as a dense chain over pairs (a, b) -> (b, c)."""
    size = transitions.shape[-1]
    dense = np.zeros((size, size, size, size))
    for a, b, c in itertools.product(range(size), repeat=3):
        dense[a, b, b, c] = transitions[a, b, c]
    return dense.reshape(size**2, size**2)


def exact_stationary(dense):
    """The solution of p P = p, sum p = 1, by least squares."""
    size = len(dense)
    equations = np.concatenate([dense.T - np.eye(size), np.ones((1, size))])
    return np.linalg.lstsq(equations, np.eye(size + 1)[-1], rcond=None)[0]


def exact_rate(transitions):
    dense = transitions if transitions.ndim == 2 else as_pairs(transitions)
    law = transitions.reshape(len(dense), -1)
    # Sampled probabilities are positive, so no logarithm is of 0.
    return float(-(exact_stationary(dense)[:, None] * law * np.log(law)).sum())


def window_probability(transitions, stationary, window):
    """Of a whole window of a stationary chain."""
    order = transitions.ndim - 1
    probability = stationary[window[:order]]
    for place in range(order, len(window)):
        probability *= transitions[window[place - order : place + 1]]
    return probability


def exact_floor(transitions, context):
    """Sum over all windows: what the best model loses on the tokens that follow the first."""
    size, order = transitions.shape[-1], transitions.ndim - 1
    dense = transitions if order == 1 else as_pairs(transitions)
    stationary = exact_stationary(dense).reshape((size,) * order)
    single = stationary if order == 1 else stationary.sum(1)
    total = 0.0
    for window in itertools.product(range(size), repeat=context + 1):
        if len(window) < order:
            continue
        probability = window_probability(transitions, stationary, window)
        total -= probability * math.log(probability / single[window[0]])
    return total / context


def followers(tokens, order):
    """Counts of each token after each history."""
    tokens = tokens.numpy()
    histories = [tokens[place : len(tokens) - order + place] for place in range(order)]
    size = tokens.max() + 1
    counts = np.zeros((size,) * (order + 1))
    np.add.at(counts, (*histories, tokens[order:]), 1)
    return counts


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("vocabulary", [2, 7])
def test_the_entropy_rate_is_that_of_the_exact_stationary_distribution(order, vocabulary, laws):
    text = markov(3, 8, vocabulary, order, length=1000, concentration=0.5)
    assert text.entropy_rate == pytest.approx(exact_rate(laws()), abs=1e-10)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("context", [1, 2, 4])
def test_the_floor_is_the_best_expected_loss_over_all_windows(order, context, laws):
    text = markov(5, context, 3, order, length=1000, concentration=0.5)
    assert text.floor == pytest.approx(exact_floor(laws(), context), abs=1e-10)


def test_two_states_have_the_entropy_of_the_textbook():
    a, b = 0.3, 0.05
    transitions = np.array([[1 - a, a], [b, 1 - b]])
    stationary = markov_chains._stationary(transitions)
    np.testing.assert_allclose(stationary, [b / (a + b), a / (a + b)], atol=1e-13)
    binary = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in (a, b)]
    expected = (b * binary[0] + a * binary[1]) / (a + b)
    assert markov_chains._entropy(transitions, stationary) == pytest.approx(expected, abs=1e-12)


def test_a_uniform_chain_has_the_logarithm_of_its_vocabulary():
    text = markov(0, 16, 32, length=2000, concentration=10_000)
    assert text.entropy_rate == pytest.approx(math.log(32), abs=1e-3)
    assert text.entropy_rate < math.log(32)


@pytest.mark.parametrize("order", ORDERS)
def test_the_floor_is_the_rate_but_for_the_unknown_past(order):
    texts = [markov(1, context, 16, order, length=20_000) for context in (1, 10, 1000)]
    excess = [text.floor - text.entropy_rate for text in texts]
    if order == 1:
        assert excess == pytest.approx([0, 0, 0], abs=1e-12)
    else:
        assert excess[0] > 0.01
        assert excess == pytest.approx([excess[0], excess[0] / 10, excess[0] / 1000], rel=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_the_empirical_loss_is_that_of_the_chain_on_the_held_out_windows(order, laws):
    text = markov(2, 6, 5, order, length=2000, concentration=0.5)
    transitions, windows = laws(), text.parts.held_out
    stationary = markov_chains._stationary(transitions)
    losses = []
    for inputs, targets in zip(*windows[torch.arange(len(windows))], strict=True):
        window = (*inputs.tolist(), int(targets[-1]))
        single = stationary if order == 1 else stationary.sum(1)
        losses.append(-math.log(window_probability(transitions, stationary, window) / single[window[0]]) / 6)
    assert text.empirical == pytest.approx(np.mean(losses), abs=1e-12)
    assert abs(text.empirical - text.floor) < 5 * np.std(losses) / len(losses) ** 0.5


@pytest.mark.parametrize("order", ORDERS)
def test_the_expected_empirical_loss_is_the_floor(order):
    gaps = [
        text.empirical - text.floor for text in (markov(seed, 5, 4, order, 5000, concentration=1) for seed in range(60))
    ]
    assert stats.ttest_1samp(gaps, 0).pvalue > 0.001
    assert np.std(gaps) < 0.1


@pytest.mark.parametrize("order", ORDERS)
def test_each_part_follows_the_laws_from_its_first_token_to_its_last(order, laws):
    text = markov(4, 8, 6, order, length=200_000, concentration=1)
    for part in text.parts:
        counts = followers(part.tokens, order)
        expected = laws() * counts.sum(-1, keepdims=True)
        often = expected > 5
        statistic = ((counts - expected)[often] ** 2 / expected[often]).sum()
        assert stats.chi2.sf(statistic, often.sum() - 6**order) > 1e-3


def test_chains_start_in_the_stationary_distribution():
    transitions = np.array([[0.9, 0.1], [0.2, 0.8]])
    stationary = markov_chains._stationary(transitions)
    starts = [markov_chains._sample(transitions, stationary, 1, np.random.default_rng(seed))[0] for seed in range(2000)]
    assert stats.binomtest(sum(starts), 2000, 1 / 3).pvalue > 0.001
    pairs = np.arange(1, 9.0).reshape(2, 2, 2)
    pairs /= pairs.sum(-1, keepdims=True)
    stationary = markov_chains._stationary(pairs)
    starts = [tuple(markov_chains._sample(pairs, stationary, 2, np.random.default_rng(seed))) for seed in range(2000)]
    counts = [starts.count(pair) for pair in itertools.product(range(2), repeat=2)]
    assert stats.chisquare(counts, 2000 * stationary.ravel()).pvalue > 0.001


@pytest.mark.parametrize("order", ORDERS)
def test_no_model_of_counts_beats_the_floor_and_a_long_text_reaches_it(order):
    text = markov(6, 16, 4, order, length=200_000, concentration=0.5)
    train, held_out = text.parts.train.tokens, text.parts.held_out.tokens
    counts = followers(train, order) + 0.5
    learnt = counts / counts.sum(-1, keepdims=True)
    loss = -(followers(held_out, order) * np.log(learnt)).sum() / (len(held_out) - order)
    assert abs(loss - text.entropy_rate) < 0.02
    shorter = markov(6, 16, 4, order, length=2000, concentration=0.5)
    assert shorter.entropy_rate == text.entropy_rate


def test_sizes_types_and_strides_are_those_documented():
    text = markov(0, 10, 16, length=1234)
    assert [len(part.tokens) for part in text.parts] == [1234, 123, 123]
    assert [(part.context, part.stride) for part in text.parts] == [(10, 1), (10, 10), (10, 10)]
    for part in text.parts:
        assert part.tokens.dtype == torch.int64
        assert part.tokens.min() >= 0
        assert part.tokens.max() < 16


def test_the_seed_decides_everything_and_nothing_else_does():
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    texts = [markov(seed, 10, 16, length=2000) for seed in (7, 7, 8)]
    tokens = [[part.tokens for part in text.parts] for text in texts]
    assert all(torch.equal(one, two) for one, two in zip(tokens[0], tokens[1], strict=True))
    assert texts[0][1:] == texts[1][1:]
    assert not torch.equal(tokens[0][0], tokens[2][0])
    assert texts[0].entropy_rate != texts[2].entropy_rate
    assert not torch.equal(tokens[0][1], tokens[0][2])
    assert not torch.equal(tokens[0][0][:200], tokens[0][1])
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_a_chain_that_hardly_moves_is_an_error_and_one_that_alternates_is_not():
    with pytest.raises(ArithmeticError, match="give a larger concentration"):
        markov_chains._stationary(np.array([[1 - 1e-9, 1e-9], [1e-10, 1 - 1e-10]]))
    alternating = np.array([[0, 1 - 1e-9, 1e-9], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(markov_chains._stationary(alternating), [0.5, 0.5 - 5e-10, 5e-10], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"context": 0}, ValueError, "context is 0"),
        ({"vocabulary": 1}, ValueError, r"vocabulary is 1: give an integer in 2\.\.1024"),
        ({"vocabulary": 129, "order": 2}, ValueError, r"in 2\.\.128"),
        ({"order": 3}, ValueError, r"order is 3: give an integer in 1\.\.2"),
        ({"length": 89}, ValueError, "length is 89: give an integer >= 90"),
        ({"concentration": 0.01}, ValueError, r"give a number in 0\.05"),
        ({"concentration": math.nan}, ValueError, "concentration is nan"),
        ({"concentration": "1"}, TypeError, "concentration is '1'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        markov(**({"seed": 0, "context": 8} | arguments))


def test_the_shortest_text_has_a_window_in_every_part():
    assert [len(part) for part in markov(0, 8, length=90).parts] == [82, 1, 1]
