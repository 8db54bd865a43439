"""Each test of a mechanism catches what it is for, and leaves honest mechanisms alone."""

import math

import mechanisms as given
import numpy as np
import pytest
import torch
from scipy import stats

from orthobench.privacy.mechanism_tests import (
    Block,
    Probe,
    adversarial_examples,
    batch_size_test,
    canary_test,
    effective_multiplier,
    noise_test,
    sensitivity_test,
    transcript_test,
)
from orthobench.privacy.transcript import Transcript


def worst():
    return adversarial_examples(given.network(), given.losses, *given.examples(), input_norm=1.0)


@pytest.mark.parametrize("name", given.HONEST)
def test_honest_mechanisms_pass(name):
    make, (inputs, targets) = given.HONEST[name], worst()
    noise = noise_test(make, inputs, targets, draws=4000)
    sensitivity, norms = sensitivity_test(make, inputs, targets)
    canary = canary_test(make, inputs[:1], targets[:1], repetitions=60)
    assert [each.passed for each in (noise, sensitivity, canary)] == [True] * 3
    assert noise.figure == pytest.approx(1, abs=0.15)
    # The examples are clipped: each adds as much as is allowed, AUTO-S a little less.
    assert 0.95 < sensitivity.figure <= 1 + 1e-3
    assert set(norms) == set(given.NAMES)
    joint = np.sqrt(sum(np.square(each) for each in norms.values()))
    assert joint.max() <= given.CLIP / given.SIZE * (1 + 1e-3)


def test_the_noise_has_its_variance_to_two_per_cent_in_80_000_draws():
    found = noise_test(given.HONEST["hooks"], *given.examples(4), draws=80_000)
    assert found.figure == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("cheat", "ratio"), [(given.HalfTheNoise, 0.25), (given.NoNoise, 0.0), (given.TheSameNoise, 0.0)]
)
def test_less_noise_is_caught_by_its_variance(cheat, ratio):
    found = noise_test(cheat, *given.examples(4), draws=4000)
    assert not found.passed
    assert found.test == "noise"
    assert found.figure == pytest.approx(ratio, abs=0.05)


@pytest.mark.parametrize("cheat", [given.HalfTheBound, given.ClipsAfterAveraging])
def test_more_than_the_bound_is_caught_by_what_an_example_changes(cheat):
    found, _ = sensitivity_test(cheat, *worst())
    assert not found.passed
    assert found.test == "sensitivity"
    assert found.figure > 1.9


def test_a_bound_of_zero_must_be_kept():
    class Silent(given.Plain):
        def blocks(self):
            return [Block(given.NAMES[:2], 0.0, 1.0), Block(given.NAMES[2:], given.CLIP / given.SIZE, given.SIGMA)]

    found, _ = sensitivity_test(Silent, *given.examples(2))
    assert not found.passed
    assert found.figure == math.inf


def test_several_blocks_are_bounded_together_too():
    """Each block keeps its bound, and their multipliers are stated as if there were one of them alone."""

    class Two(given.Plain):
        def blocks(self):
            bound = given.CLIP / given.SIZE
            return [Block(given.NAMES[:2], bound, given.SIGMA), Block(given.NAMES[2:], bound, given.SIGMA)]

    assert effective_multiplier(Two(torch.optim.SGD, None).blocks()) == pytest.approx(given.SIGMA / math.sqrt(2))
    found, _ = sensitivity_test(Two, *worst())
    assert found.passed


def test_missing_noise_and_more_than_the_bound_are_caught_by_a_repeated_canary():
    inputs, targets = worst()
    for cheat in (given.NoNoise, given.ClipsAfterAveraging, given.HalfTheBound, given.HalfTheNoise):
        found = canary_test(cheat, inputs[:1], targets[:1], repetitions=1000 if cheat is given.HalfTheNoise else 100)
        assert found.test == "canary"
        assert found.passed == (cheat is given.HalfTheBound), cheat
    # Half of the bound with twice the multiplier is as much noise: only what an example changes shows it.


def test_the_canary_bounds_the_distance_of_a_gaussian_mechanism_from_below():
    inputs, targets = worst()
    for repetitions, tight in ((50, 0.0), (1000, 0.35)):
        found = canary_test(given.Plain, inputs[:1], targets[:1], repetitions, level=0.01)
        assert tight <= found.figure <= 1


def test_weights_that_move_without_the_optimizer_are_an_error():
    with pytest.raises(ValueError, match="changed the weights without the optimizer"):
        sensitivity_test(given.WritesWeights, *given.examples(2))


def test_noise_that_is_not_the_generators_is_an_error():
    with pytest.raises(ValueError, match="take the noise from the generator"):
        sensitivity_test(given.NoiseOfItsOwn, *given.examples(2))


def test_a_batch_without_a_step_is_an_error():
    class Skips(given.Plain):
        def step(self, inputs, targets):
            if len(inputs):
                super().step(inputs, targets)

    with pytest.raises(ValueError, match="made no step of its optimizer"):
        noise_test(Skips, *given.examples(2), draws=100)


def test_a_mechanism_without_noise_in_any_block_does_not_pass():
    class Nothing(given.Plain):
        def blocks(self):
            return []

    assert not noise_test(Nothing, *given.examples(2), draws=100).passed


def test_a_probe_leaves_the_weights_and_the_global_generator():
    before = torch.get_rng_state()
    sensitivity_test(given.HONEST["ghost"], *given.examples(2))
    assert torch.equal(torch.get_rng_state(), before)
    probe = Probe(given.Plain)
    weights = [each.clone() for each in probe.mechanism.model.parameters()]
    gradient, _ = probe.gradient(*given.examples(3), seed=1)
    assert set(gradient) == set(given.NAMES)
    assert all(map(torch.equal, weights, probe.mechanism.model.parameters()))


def test_adversarial_examples_have_larger_gradients_than_the_given_ones_and_keep_to_their_norm():
    model = given.network()

    def norm(example, label):
        model.zero_grad()
        given.losses(model(example[None]), label[None]).sum().backward()
        return math.sqrt(sum(float(each.grad.square().sum()) for each in model.parameters()))

    inputs, targets = given.examples()
    found = adversarial_examples(model, given.losses, inputs, targets, input_norm=1.0, count=3)
    assert found[0].shape == (3, given.FEATURES)
    assert float(found[0].norm(dim=1).max()) <= 1 + 1e-5
    assert min(map(norm, *found)) > max(map(norm, inputs, targets))


# ----- batches -----


def test_poisson_batches_pass_as_often_as_the_level_says():
    random = np.random.default_rng(0)
    p = np.array([batch_size_test(random.binomial(500, 0.1, 60), 500, 0.1).figure for _ in range(400)])
    assert stats.binomtest(int((p < 0.05).sum()), 400, 0.1, alternative="greater").pvalue > 1e-3
    assert batch_size_test(random.binomial(500, 0.1, 60), 500, 0.1).passed


@pytest.mark.parametrize("steps", [20, 300])
def test_batches_of_a_fixed_size_are_caught(steps):
    found = batch_size_test([50] * steps, 500, 0.1)
    assert not found.passed
    assert found.test == "batch sizes"


def test_batches_at_twice_the_rate_are_caught():
    sizes = np.random.default_rng(0).binomial(500, 0.2, 20)
    assert not batch_size_test(sizes, 500, 0.1).passed
    assert batch_size_test(sizes, 500, 0.2).passed


def test_at_a_rate_of_one_batches_are_whole():
    assert batch_size_test([500, 500], 500, 1.0).passed
    assert not batch_size_test([500, 499], 500, 1.0).passed
    with pytest.raises(ValueError, match="no batch to test"):
        batch_size_test([], 500, 0.1)


# ----- the transcript -----


def recorded(rate, noise, steps):
    transcript = Transcript()
    for _ in range(steps):
        transcript.record(rate, [noise])
    return transcript


@pytest.mark.parametrize(
    ("transcript", "passed"),
    [
        (recorded(0.1, 2.0, 5), True),
        (recorded(0.1, 1.9, 5), True),
        (recorded(0.1, 2.1, 5), False),
        (recorded(0.1, 2.0, 4), False),
        (recorded(0.05, 2.0, 5), False),
        (Transcript(), False),
    ],
)
def test_a_transcript_holds_each_step_with_no_more_noise_than_there_is(transcript, passed):
    blocks = [Block(("a",), 0.5, 2 * math.sqrt(2)), Block(("b",), 0.1, 2 * math.sqrt(2)), Block(("c",), 0.0, 1.0)]
    assert transcript_test(transcript, blocks, batches=5, sampling_rate=0.1).passed == passed
