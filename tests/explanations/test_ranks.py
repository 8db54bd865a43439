"""Ranks and their correlation, against SciPy's; and orders in which ties are random."""

import pytest
import torch
from explanation_cases import generator, normal
from scipy.stats import rankdata, spearmanr

from orthobench.explanations.ranks import average_ranks, descending, rank_correlation


@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_ranks_and_their_correlation_are_scipys(levels):
    first, second = (torch.randint(levels, (3, 30), generator=generator(seed)).double() for seed in (0, 1))
    for row, other in zip(first, second, strict=True):
        assert average_ranks(row).tolist() == (rankdata(row) - 1).tolist()
        torch.testing.assert_close(rank_correlation(row, other).item(), float(spearmanr(row, other).statistic))
    rows = [rank_correlation(row, other) for row, other in zip(first, second, strict=True)]
    torch.testing.assert_close(rank_correlation(first, second), torch.stack(rows))


def test_what_is_constant_is_correlated_with_nothing():
    values = normal(10)
    assert rank_correlation(torch.full((10,), 0.1), values) == 0
    assert rank_correlation(values, torch.zeros(10)) == 0
    assert average_ranks(torch.tensor([3.0])).tolist() == [0]


def test_values_that_are_equal_but_for_a_tolerance_are_ties():
    values = torch.tensor([1.0, 2.0, 1.0 + 1e-9, 3.0], dtype=torch.float64)
    assert average_ranks(values).tolist() == [0, 2, 1, 3]
    assert average_ranks(values, 1e-8).tolist() == [0.5, 2, 0.5, 3]


def test_the_order_is_descending_with_ties_in_each_order_equally_often():
    values = torch.tensor([1.0, 5.0, 1.0, 7.0, 1.0])
    draws = generator()
    orders = [tuple(descending(values, draws).tolist()) for _ in range(1200)]
    assert {order[:2] for order in orders} == {(3, 1)}
    counts = [orders.count(order) for order in sorted(set(orders))]
    assert len(counts) == 6
    assert all(abs(count - 200) < 5 * 200**0.5 for count in counts)
