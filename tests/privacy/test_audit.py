"""The audit's bound is that of the theorem, holds for honest runs, and finds noise that is left out."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from orthobench.privacy.accounting import epsilon
from orthobench.privacy.audit import (
    Canaries,
    chance_of_guesses,
    epsilon_lower_bound,
    right_guesses,
    simulated_bounds,
)
from orthobench.privacy.release import Block
from orthobench.privacy.transcript import Transcript


def test_without_delta_the_chance_is_that_of_randomised_response():
    """Written out: every pattern of right and wrong guesses, each right with probability e^eps / (1 + e^eps)."""
    for value in (0.0, 0.7, 2.0):
        right = math.exp(value) / (1 + math.exp(value))
        for v in range(6):
            exact = sum(
                math.prod(right if each else 1 - right for each in pattern)
                for pattern in itertools.product((0, 1), repeat=5)
                if sum(pattern) >= v
            )
            assert chance_of_guesses(9, 5, v, value, 1e-300) == pytest.approx(exact, rel=1e-12)


def test_delta_adds_the_steepest_average_below():
    m, r, v, value, delta = 20, 10, 8, 1.0, 1e-3
    binomial = stats.binom(r, math.e / (1 + math.e))
    steepest = max(sum(binomial.pmf(v - j) for j in range(1, i + 1)) / i for i in range(1, v + 1))
    expected = binomial.sf(v - 1) + 2 * m * delta * steepest
    assert chance_of_guesses(m, r, v, value, delta) == pytest.approx(expected, rel=1e-12)


def test_all_right_guesses_prove_what_the_formula_says():
    """p^r = 1 - confidence."""
    for r in (10, 100, 400):
        share = 0.05 ** (1 / r)
        assert epsilon_lower_bound(r, r, r, 1e-12, 0.95) == pytest.approx(math.log(share / (1 - share)), abs=1e-3)


def test_the_bound_grows_with_right_guesses_and_falls_with_confidence_and_delta():
    bounds = [epsilon_lower_bound(200, 100, v, 1e-5) for v in (50, 70, 80, 90, 100)]
    assert bounds == sorted(bounds)
    assert bounds[0] == 0 < bounds[-1]
    assert epsilon_lower_bound(200, 100, 90, 1e-5, 0.9999) < epsilon_lower_bound(200, 100, 90, 1e-5, 0.95)
    assert epsilon_lower_bound(200, 100, 90, 1e-3) < epsilon_lower_bound(200, 100, 90, 1e-6)


def test_guesses_are_of_the_highest_and_the_lowest_scores():
    included = np.array([True, False, True, False, True, False])
    assert right_guesses(np.array([9.0, 0, 8, 1, 7, 2]), included, 6) == 6
    assert right_guesses(np.array([0.0, 9, 5, 5, 8, 1]), included, 2) == 0
    assert right_guesses(np.array([0.0, 9, 5, 5, 8, 1]), included, 4) == 2


@pytest.mark.parametrize("value", [0.5, 2.0])
def test_randomised_response_is_disproved_no_more_often_than_the_confidence_says(value):
    random = np.random.default_rng(0)
    right = random.binomial(100, math.exp(value) / (1 + math.exp(value)), 400)
    above = sum(epsilon_lower_bound(100, 100, int(v), 1e-9, 0.9) > value for v in right)
    assert stats.binomtest(above, 400, 0.1, alternative="greater").pvalue > 1e-3


def test_simulated_bounds_are_below_epsilon_and_find_missing_noise():
    rate, steps, noise, delta = 0.18, 300, 6.0, 1e-5
    transcript = Transcript()
    for _ in range(steps):
        transcript.record(rate, [noise])
    true = epsilon(transcript, delta, "rdp")
    honest = simulated_bounds(noise, rate, steps, 640, delta, repetitions=20)
    assert honest.max() < true
    missing = simulated_bounds(0.0, rate, steps, 640, delta, repetitions=5)
    assert missing.min() > true
    # The power of the audit at this size is small: half of the noise goes unseen.
    assert simulated_bounds(noise / 2, rate, steps, 640, delta, repetitions=5).mean() < true


def run(noise, count=100, steps=150, size=400, seed=0):
    """Steps on zero gradients of two blocks, with canaries, and noise that may be less than is claimed."""
    canaries = Canaries(count, 0.2, seed)
    blocks = [Block(("a", "b"), 0.1, 0.8), Block(("c",), 0.3, 2.4), Block(("d",), 0.0, 1.0)]
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        draw = {name: torch.randn(size // (2 if name in "ab" else 1), generator=generator) for name in "abcd"}
        gradients = {name: noise * blocks[name == "c"].std * each for name, each in draw.items()}
        canaries.add(gradients, blocks)
    return canaries


def test_an_honest_run_passes_and_one_without_noise_does_not():
    transcript = Transcript()
    for _ in range(150):
        transcript.record(0.2, [8.0, 8.0])
    true = epsilon(transcript, 1e-5, "rdp")
    assert run(1.0).lower_bound(1e-5)[0] < true
    found, right, guesses = run(0.0).lower_bound(1e-5)
    assert (right, guesses) == (50, 50)
    assert found > 1.5


def test_a_canary_adds_its_bound_to_each_block_where_it_is_sampled():
    canaries = Canaries(10, 1.0, seed=1)
    gradients = {name: torch.zeros(30) for name in "ab"}
    blocks = [Block(("a",), 0.5, 0.5), Block(("b",), 0.25, 0.5)]
    canaries.add(gradients, blocks)
    count = int(canaries.included.sum())
    assert 0 < count < 10
    for name, bound in (("a", 0.5), ("b", 0.25)):
        assert float(gradients[name].norm()) == pytest.approx(bound * count**0.5)
        assert int(gradients[name].count_nonzero()) == count
    # 1 / s^2 of each block for one that is in the data and in each batch.
    assert canaries.scores[canaries.included] == pytest.approx([1 + 1 / 4] * count)
    assert canaries.scores[~canaries.included] == pytest.approx([0.0] * (10 - count))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delta": 0}, "delta=0"),
        ({"delta": 1}, "delta=1"),
        ({"right": 11}, "right is 11"),
        ({"guesses": 21}, "guesses is 21"),
        ({"confidence": 1.0}, "confidence=1.0"),
    ],
)
def test_arguments_out_of_their_range_are_refused(arguments, message):
    given = {"canaries": 20, "guesses": 10, "right": 9, "delta": 1e-5, "confidence": 0.99} | arguments
    with pytest.raises(ValueError, match=message):
        epsilon_lower_bound(**given)
