"""The threshold of conformal risk control: exact, against brute force in fractions and the conformal threshold."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from risk_cases import misses

from orthobench.conformal import conformal_threshold
from orthobench.conformal.risk import MonotoneLosses, StepLosses, conformal_risk_threshold
from orthobench.conformal.risk.losses import exact_sum


def test_of_losses_of_0_and_1_it_is_the_conformal_threshold_at_every_n_and_alpha():
    random = np.random.default_rng(0)
    for count in range(41):
        scores = random.integers(0, 30, count) / 8
        losses = misses(scores)
        for hundredths in range(1 + count % 3, 100, 3):
            alpha = hundredths / 100
            expected = conformal_threshold(torch.from_numpy(scores), alpha)
            assert -conformal_risk_threshold(losses, 1, alpha) == expected


def random_needs(random):
    """Return tied needs of examples with 0 to 7 objects, some of which no parameter serves."""
    counts = random.integers(0, 8, random.integers(1, 12))
    example = np.repeat(np.arange(len(counts)), counts)
    needs = random.choice([0.0, 0.25, 0.5, 1.0, 2.0, math.inf], len(example))
    return needs, example, counts


def brute_force(needs, example, counts, total):
    """Return the smallest of all points at which the mean losses sum to a total at most, in fractions."""
    for point in [-math.inf, *sorted(set(needs))]:
        missed = [int((needs[example == each] > point).sum()) for each in range(len(counts))]
        if sum(Fraction(lost, max(int(count), 1)) for lost, count in zip(missed, counts, strict=True)) <= total:
            return point
    return math.inf


def test_it_is_the_smallest_point_by_brute_force_in_fractions_ties_included():
    random = np.random.default_rng(1)
    for _ in range(200):
        needs, example, counts = random_needs(random)
        losses = StepLosses.from_needs(needs, example, start=counts, parts=np.maximum(counts, 1))
        alpha = random.choice([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        total = Fraction(str(alpha)) * (len(counts) + 1) - 1
        assert conformal_risk_threshold(losses, 1, alpha) == brute_force(needs, example, counts, total)


def test_thirds_that_sum_to_the_level_exactly_are_allowed():
    """In float64 the sums of 7/9 + 1/9 + 1/9 and of 5/6 + 1/6 depend on rounding; level: 0.3 * 10 - 1 = 2."""
    missed, parts = np.array([7, 1, 1, 5, 1, 0, 0, 0, 0]), np.array([9, 9, 9, 6, 6, 1, 1, 1, 1])
    needs, example = np.full(missed.sum(), 5.0), np.repeat(np.arange(9), missed)
    losses = StepLosses.from_needs(needs, example, start=missed, parts=parts)
    assert losses.sum(0) == 2
    assert conformal_risk_threshold(losses, 1, 0.3) == -math.inf
    assert conformal_risk_threshold(losses, 1, 0.29) == 5.0


def test_the_sum_of_floating_point_numbers_is_exact():
    random = np.random.default_rng(2)
    for values in (
        random.random(100),
        np.ldexp(random.random(50), random.integers(-80, 3, 50)),
        np.zeros(3),
        np.ones(0),
    ):
        assert exact_sum(values) == sum(map(Fraction, values.tolist()))


def test_a_table_is_constant_between_points_and_right_continuous():
    losses = StepLosses.from_table([1.0, 2.0], [[0.9, 0.5, 0.1], [0.4, 0.4, 0.0]])
    for parameter, column in ((0.5, [0.9, 0.4]), (1.0, [0.5, 0.4]), (1.5, [0.5, 0.4]), (2.0, [0.1, 0.0])):
        assert losses.values(parameter).tolist() == column
    assert losses.largest == 0.9


def test_a_bound_of_another_size_scales_the_losses():
    random = np.random.default_rng(3)
    values = -np.sort(-random.random((30, 6)), axis=1)
    unit, wide = (StepLosses.from_table(np.arange(5), scale * values) for scale in (1, 4))
    for alpha in (0.1, 0.25, 0.5):
        assert conformal_risk_threshold(wide, 4, 4 * alpha) == conformal_risk_threshold(unit, 1, alpha)


def test_too_few_examples_give_the_largest_parameter():
    assert conformal_risk_threshold(misses(np.ones(8)), 1, 0.1) == math.inf
    assert conformal_risk_threshold(misses(np.ones(9)), 1, 0.1) == -1
    assert conformal_risk_threshold(misses(np.ones(0)), 1, 0.5) == math.inf


def test_tensors_and_lists_are_taken():
    from_tensors = StepLosses.from_table(torch.tensor([1.0]), torch.tensor([[0.5, 0.25]], dtype=torch.bfloat16))
    assert from_tensors.values(1.0).tolist() == [0.25]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: StepLosses.from_table([0.0], [[0.0, 0.1], [0.2, 0.3]]),
            r"example 0 rises from 0 to 0.1 at 0.*supremum",
        ),
        (lambda: StepLosses.from_table([0.0], [[0.3, 0.1], [0.2, 0.3]]), r"example 1 rises from 0.2 to 0.3 at 0"),
        (lambda: StepLosses.from_table([1.0, 0.0], [[0.3, 0.2, 0.1]]), "points must ascend"),
        (lambda: StepLosses.from_table([1.0], [[0.3, 0.2, 0.1]]), r"\(n, 2\)"),
        (lambda: StepLosses.from_table([1.0], [[0.3, -0.2]]), "at least 0, got -0.2"),
        (lambda: StepLosses.from_table([1.0], [[math.nan, 0.2]]), "finite and at least 0, got nan"),
        (lambda: StepLosses.from_table([math.nan], [[0.3, 0.2]]), "NaN"),
        (lambda: StepLosses([0.0], [1], [0, 1], [1]), "from minus infinity"),
        (lambda: StepLosses([-math.inf], [1], [0, 1], [0]), "parts must be at least 1, got 0"),
        (lambda: conformal_risk_threshold(misses(np.ones(3)), 0.5, 0.1), "reach 1, above the bound of 0.5"),
        (lambda: conformal_risk_threshold(misses(np.ones(3)), 1, 1.0), "strictly between 0 and 1"),
        (lambda: conformal_risk_threshold(misses(np.ones(3)), 1, math.nan), "strictly between 0 and 1"),
        (lambda: conformal_risk_threshold(misses(np.ones(3)), 0, 0.1), "bound must be positive"),
    ],
)
def test_bad_input_is_an_error_that_names_it(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "arguments", [(np.ones(3), 1, 0.1), (misses(np.ones(3)), "1", 0.1), (misses(np.ones(3)), 1, True)]
)
def test_wrong_types_are_errors(arguments):
    with pytest.raises(TypeError, match="must be"):
        conformal_risk_threshold(*arguments)


def test_losses_of_ones_own_are_taken():
    class Halves(MonotoneLosses):
        count, largest = 3, 0.5

        def values(self, parameter):
            return np.full(3, 0.5)

        def sum(self, parameter):
            return Fraction(3, 2)

        def least(self, total):
            return -math.inf if total >= Fraction(3, 2) else math.inf

    assert conformal_risk_threshold(Halves(), 1, 0.7) == -math.inf
