"""The rescaling of almost-orthogonal layers against its formula and its guarantee."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthobench.linalg import Recipe, aol_rescale, newton_schulz, polar_factor


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 4), (4, 7)])
def test_rows_are_scaled_by_the_formula(shape):
    X = gaussian(*shape)
    D = torch.diag((X @ X.T).abs().sum(1) ** -0.5)
    torch.testing.assert_close(aol_rescale(X), D @ X)
    if shape[0] < shape[1]:
        torch.testing.assert_close(aol_rescale(X.T), X.T @ D)


@given(
    seed=st.integers(0, 2**31),
    m=st.integers(1, 40),
    n=st.integers(1, 40),
    spread=st.floats(0, 5),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_largest_singular_value_is_at_most_one(seed, m, n, spread, dtype):
    rows = torch.exp(spread * gaussian(m, 1, seed=seed + 1))
    X = (rows * gaussian(m, n, seed=seed)).to(dtype)
    sigma_max = torch.linalg.matrix_norm(aol_rescale(X).double(), 2)
    assert sigma_max <= 1 + 2 * torch.finfo(dtype).eps


def test_the_guarantee_is_reached():
    # All entries of the Gram matrix positive and all row sums equal: the bound is an equality.
    assert abs(torch.linalg.matrix_norm(aol_rescale(torch.ones(6, 9, dtype=torch.float64)), 2) - 1) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_rows_stay_zero(dtype):
    X = gaussian(4, 6, dtype=dtype)
    X[1] = 0
    result = aol_rescale(X)
    assert result.isfinite().all()
    assert not result[1].any()
    assert result[0].any()
    assert not aol_rescale(torch.zeros(4, 6, dtype=dtype)).any()


def test_an_iteration_that_starts_with_it_converges_to_the_polar_factor_of_the_rescaled_matrix():
    X = gaussian(12, 20)
    cubic = Recipe("aol_cubic", "AOL and cubic Newton-Schulz", ((1.5, -0.5, 0.0),), "aol", "test")
    limit = newton_schulz(X, cubic, steps=60)
    torch.testing.assert_close(limit, polar_factor(aol_rescale(X)))
    assert (limit - polar_factor(X)).norm() > 1e-3 * polar_factor(X).norm()
