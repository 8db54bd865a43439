"""A turned matrix has the singular values of the first, and no other mark of it."""

import pytest
import torch

from orthobench.linalg.turns import Turn, difference


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 4)])
def test_a_turn_keeps_the_singular_values_alone(shape):
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    turned = Turn(shape, generator).of(matrix)
    torch.testing.assert_close(torch.linalg.svdvals(turned), torch.linalg.svdvals(matrix))
    assert difference([turned], [matrix]) > 0.5
    for axis in (0, 1) if min(shape) > 1 else ():
        before, after = (each.norm(dim=axis).sort().values for each in (matrix, turned))
        assert not torch.allclose(before, after, rtol=1e-2)


def test_a_turn_keeps_the_type():
    matrix = torch.randn(3, 4).bfloat16()
    assert Turn((3, 4), torch.Generator()).of(matrix).dtype == torch.bfloat16


def test_the_difference_is_relative_to_the_second():
    ones, twos = [torch.ones(2, 2)], [2 * torch.ones(2, 2)]
    assert difference(twos, ones) == 1.0
    assert difference(ones, twos) == 0.5
    assert difference(ones, [torch.ones(2, 3)]) == float("inf")
    assert difference(ones, [torch.zeros(2, 2)]) == 2.0
