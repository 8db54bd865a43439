"""The rank quantile: exact, an order statistic, and full sets when there are too few scores."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from orthobench.conformal import conformal_rank, conformal_threshold
from orthobench.conformal.quantile import at_least


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.2, 0.29, 0.3, 0.7, 0.999])
def test_the_rank_is_that_of_the_decimal_number(alpha):
    for count in range(1, 1200):
        hundredths = Fraction(round(alpha * 1000), 1000)
        assert conformal_rank(count, alpha) == hundredths * (count + 1) // 1


def test_the_threshold_is_an_order_statistic_of_the_right_rank():
    generator = torch.Generator().manual_seed(0)
    for count in (1, 5, 19, 20, 100, 999):
        scores = torch.randn(count, generator=generator)
        for alpha in (0.05, 0.1, 0.29, 0.5):
            rank = math.floor(Fraction(str(alpha)) * (count + 1))
            expected = sorted(scores.tolist())[rank - 1] if rank else -math.inf
            assert conformal_threshold(scores, alpha) == expected


def test_exchangeable_scores_are_covered_exactly_by_counting():
    """Of n + 1 distinct numbers, each in turn the test score: exactly n + 1 - rank are at least the threshold."""
    scores = torch.arange(20.0)
    for alpha in (0.05, 0.1, 0.2, 0.33):
        kept = [scores[i] >= conformal_threshold(scores[torch.arange(20) != i], alpha) for i in range(20)]
        assert sum(map(bool, kept)) == 20 - conformal_rank(19, alpha)


def test_too_few_scores_keep_every_class():
    assert conformal_threshold(torch.randn(5), 0.1) == -math.inf
    assert conformal_threshold(torch.zeros(0), 0.5) == -math.inf
    assert conformal_threshold(torch.randn(9), 0.1) > -math.inf


def test_duplicated_scores_are_all_kept():
    threshold = conformal_threshold(torch.full((50,), 0.25), 0.1)
    assert threshold == 0.25
    assert at_least(torch.tensor([0.25, 0.2]), threshold).tolist() == [True, False]


def test_a_float32_score_is_compared_as_the_number_that_it_is():
    below, above = np.nextafter(np.float32(0.1), np.float32([-1, 1]))
    scores = torch.tensor([below, np.float32(0.1), above])
    # 0.1 in float64 is a little less than 0.1 in float32.
    assert at_least(scores, 0.1).tolist() == [False, True, True]
    assert at_least(scores, float(scores[2]) - 1e-12).tolist() == [False, False, True]
    assert at_least(scores, -math.inf).all()


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5, math.nan, math.inf])
def test_alpha_outside_of_the_open_interval_is_an_error(alpha):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        conformal_threshold(torch.randn(9), alpha)


@pytest.mark.parametrize("alpha", ["0.1", None, True])
def test_alpha_that_is_no_number_is_an_error(alpha):
    with pytest.raises(TypeError, match="alpha must be a number"):
        conformal_rank(9, alpha)


def test_bad_scores_are_an_error():
    with pytest.raises(ValueError, match="NaN for example 1"):
        conformal_threshold(torch.tensor([0.0, math.nan]), 0.1)
    with pytest.raises(TypeError, match="floating-point tensor"):
        conformal_threshold(torch.zeros(3, 2), 0.1)
