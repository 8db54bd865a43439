"""Each test of a mechanism catches what it is for, and leaves honest mechanisms alone."""

import math

import mechanisms as given
import numpy as np
import pytest
import torch
from scipy import stats

from orthobench.privacy.clipping import COUNT
from orthobench.privacy.mechanism_tests import (
    Independence,
    adversarial_examples,
    change_test,
    sensitivity_test,
    sum_test,
)
from orthobench.privacy.release import Block, draw_noise, effective_multiplier


def worst():
    return adversarial_examples(given.network(), given.losses, *given.examples(), input_norm=1.0)


def examined(make):
    """The sensitivity with and without a batch of the expected size, and sums in another process."""
    batch = given.examples(given.SIZE, seed=3)
    sensitivity, norms = sensitivity_test(make(), *worst(), batch)
    summed = sum_test(make(), *batch, make()(*batch))
    return sensitivity, summed, norms


@pytest.mark.parametrize("name", given.HONEST)
def test_honest_mechanisms_pass(name):
    sensitivity, summed, norms = examined(given.HONEST[name])
    assert sensitivity.passed
    assert summed.passed
    # The examples are clipped: each adds as much as is allowed, AUTO-S a little less.
    assert 0.95 < sensitivity.figure <= 1 + 1e-3
    assert summed.figure < 1e-4
    assert set(norms) - {COUNT} == set(given.NAMES)
    joint = np.sqrt(sum(np.square(norms[name]) for name in given.NAMES))
    assert joint.max() <= given.CLIP * (1 + 1e-3)


@pytest.mark.parametrize(
    ("cheat", "caught"),
    [
        (given.HalfTheBound, "sensitivity"),
        (given.MoreInLargeBatches, "both"),
        (given.BoundOfTheBatch, "both"),
        (given.ClipsAfterSumming, "sum"),
        (given.RealisedSize, "both"),
        (given.LeavesOut, "both"),
    ],
)
def test_what_is_no_sum_of_bounded_shares_is_caught(cheat, caught):
    sensitivity, summed, _ = examined(cheat)
    assert sensitivity.passed == (caught == "sum"), sensitivity
    assert summed.passed == (caught == "sensitivity"), summed
    assert (sensitivity.test, summed.test) == ("sensitivity", "sum")


def test_what_depends_on_the_question_before_is_no_sum():
    mechanism, batches = given.Remembers(), [given.examples(8, seed=seed) for seed in range(3)]
    answers = [mechanism(*batch) for batch in batches]
    assert [sum_test(given.Plain(), *batch, answer).passed for batch, answer in zip(batches, answers, strict=True)] == [
        True,
        False,
        False,
    ]


def test_an_answer_of_a_run_is_compared_with_one_that_has_an_example_more():
    batch, (inputs, targets) = given.examples(), worst()
    more = [torch.cat([own, each[:1]]) for own, each in zip(batch, (inputs, targets), strict=True)]
    for make, ratio in ((given.Plain, 1.0), (given.HalfTheBound, 2.0)):
        found = change_test(make()(*more), make()(*batch))
        assert found.passed == (ratio == 1)
        assert found.figure == pytest.approx(ratio, rel=1e-3)


def test_a_bound_of_zero_must_be_kept():
    class Silent(given.Plain):
        def blocks(self, inputs):
            return [Block(given.NAMES[:2], 0.0, 1.0), Block(given.NAMES[2:], given.CLIP, given.SIGMA * given.CLIP)]

    found, _ = sensitivity_test(Silent(), *given.examples(2), given.examples())
    assert not found.passed
    assert found.figure == math.inf


def test_several_blocks_are_bounded_together_too():
    """Each block keeps its bound, but one example fills both, and they are stated as if it could not."""

    class Two(given.Plain):
        def blocks(self, inputs):
            std = given.SIGMA * given.CLIP
            return [Block(given.NAMES[:2], given.CLIP, std), Block(given.NAMES[2:], given.CLIP, std)]

    assert effective_multiplier(Two().blocks(())) == pytest.approx(given.SIGMA / math.sqrt(2))
    found, _ = sensitivity_test(Two(), *worst(), given.examples())
    assert found.passed


def noisy_runs(runs, steps=20, known=0.0, seed=0):
    """Figures of sums that hold a share of their noise, over many runs."""
    generator, figures = torch.Generator().manual_seed(seed), []
    blocks = [Block(("a",), 1.0, 2.0), Block(("b", "c"), 0.1, 0.3), Block(("d",), 0.0, 0.0)]
    for _ in range(runs):
        found = Independence()
        for _ in range(steps):
            sums = {name: torch.randn(6, generator=generator) for name in "abcd"}
            noise = draw_noise(sums, blocks, generator)
            found.add({name: each - known * noise[name] for name, each in sums.items()}, noise, blocks)
        figures.append(found.test())
    return figures


def test_sums_that_do_not_know_their_noise_pass_as_often_as_the_level_says():
    p = np.array([each.figure for each in noisy_runs(500)])
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_sums_that_take_some_of_their_noise_off_are_caught():
    assert all(each.passed for each in noisy_runs(5, steps=300))
    assert not any(each.passed for each in noisy_runs(5, steps=300, known=0.4))


def test_a_run_without_a_sum_is_independent():
    assert Independence().test().figure == 1


def test_tests_leave_the_weights_and_the_global_generator():
    ask, before = given.Plain(), torch.get_rng_state()
    weights = [each.clone() for each in ask.model.parameters()]
    sensitivity_test(ask, *given.examples(2), given.examples())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, weights, ask.model.parameters()))


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
