"""Sums that can't be those of so many bounded examples are told; signal and noise are compared as norms."""

import math

import pytest
import torch

from orthobench.privacy.release import Block
from orthobench.privacy.sums import Summed, blocks_of_parameters, gradient_to_noise, size_test

SUMS = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0]), "count": torch.tensor([7.0])}


@pytest.mark.parametrize(
    ("bound", "count", "passes"), [(1.0, 5, True), (1.0, 4, False), (2.5, 2, True), (0.0, 5, False)]
)
def test_a_sum_is_no_larger_than_its_examples_make_it(bound, count, passes):
    found = size_test(Summed(SUMS, [Block(("a", "b"), bound, 1.0)]), count)
    assert found.passed == passes
    assert found.figure == (5.0 / (bound * count) if bound else math.inf)
    assert passes or f"the sum of a has the norm 5, and {count} examples with a bound of {bound:.3g}" in found.message


def test_no_example_makes_no_sum():
    nothing = {name: torch.zeros_like(each) for name, each in SUMS.items()}
    assert size_test(Summed(nothing, [Block(("a", "b"), 1.0, 1.0)]), 0).passed
    assert not size_test(Summed(SUMS, [Block(("a", "b"), 1.0, 1.0)]), 0).passed


def test_gradients_are_compared_with_their_noise_alone():
    weights = {"a": torch.zeros(2), "b": torch.zeros(1)}
    blocks = [Block(("a", "b"), 1.0, 2.0), Block(("count",), 1.0, 9.0)]
    assert blocks_of_parameters(blocks, weights) == blocks[:1]
    assert gradient_to_noise(Summed(SUMS, blocks), weights, scale=3.0) == pytest.approx(3 * 5 / (2 * math.sqrt(3)))
    assert gradient_to_noise(Summed(SUMS, blocks[1:]), weights) == math.inf
