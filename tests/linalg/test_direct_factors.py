"""The exact factors against float64 factorisations and their defining properties."""

import pytest
import torch

from orthobench.linalg import polar_factor, qr_factor

DTYPES = [torch.float64, torch.float32, torch.bfloat16]
SHAPES = [(1, 1), (1, 7), (7, 1), (10, 10), (10, 25), (25, 10), (3, 10, 25), (2, 3, 25, 10)]


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def of_rank(r, m, n):
    return gaussian(m, r, seed=1) @ gaussian(r, n, seed=2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), list(zip(DTYPES, (1e-11, 1e-4, 4e-3), strict=True)))
def test_polar_factor_is_that_of_a_float64_svd(shape, dtype, tolerance):
    X = gaussian(*shape, dtype=dtype)
    U, _, Vh = torch.linalg.svd(X.double(), full_matrices=False)
    result = polar_factor(X)
    assert result.dtype == dtype
    assert (result.double() - U @ Vh).norm() <= tolerance * (U @ Vh).norm()


def test_polar_factor_leaves_a_positive_semidefinite_rest():
    # X = Q H, H symmetric positive semidefinite, characterises Q without an SVD.
    X = gaussian(25, 10)
    Q = polar_factor(X)
    H = Q.mT @ X
    torch.testing.assert_close(Q.mT @ Q, torch.eye(10, dtype=torch.float64))
    torch.testing.assert_close(H, H.mT)
    assert torch.linalg.eigvalsh(H).min() > 0
    torch.testing.assert_close(Q @ H, X)


@pytest.mark.parametrize("r", [0, 1, 4])
@pytest.mark.parametrize(("m", "n"), [(9, 9), (9, 15), (15, 9)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_polar_factor_of_a_rank_deficient_matrix_is_a_partial_isometry(r, m, n, dtype, tolerance):
    X = of_rank(r, m, n)
    U, _, Vh = torch.linalg.svd(X)
    expected = U[:, :r] @ Vh[:r]
    assert (polar_factor(X.to(dtype)).double() - expected).norm() <= tolerance * max(r, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_polar_factor_counts_singular_values_up_to_rounding_as_zero(dtype):
    threshold = 8 * torch.finfo(dtype).eps
    X = torch.diag(torch.tensor([1, 2 * threshold, threshold / 2], dtype=dtype))
    X = torch.nn.functional.pad(X, (0, 5))
    expected = torch.tensor([1, 1, 0], dtype=dtype)
    torch.testing.assert_close(polar_factor(X).diagonal(), expected)
    # The threshold of a matrix does not depend on the larger singular values of another one in its batch.
    torch.testing.assert_close(polar_factor(torch.stack([X, torch.ones_like(X)]))[0].diagonal(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_polar_factor_of_zero_is_zero(dtype):
    assert not polar_factor(torch.zeros(2, 3, 5, dtype=dtype)).any()
    X = gaussian(2, 3, 5, dtype=dtype)
    X[0] = 0
    assert not polar_factor(X)[0].any()
    assert polar_factor(X)[1].any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), list(zip(DTYPES, (1e-13, 1e-5, 2e-2), strict=True)))
def test_qr_factor_is_orthonormal_and_leaves_a_triangular_rest_with_a_positive_diagonal(shape, dtype, tolerance):
    X = gaussian(*shape, dtype=dtype)
    Q = qr_factor(X)
    assert Q.dtype == dtype
    X, Q = X.double(), Q.double()
    if shape[-2] < shape[-1]:
        X, Q = X.mT, Q.mT
    # Q orthonormal, R upper triangular and diag(R) > 0 determine Q.
    R = Q.mT @ X
    n = Q.shape[-1]
    assert (Q.mT @ Q - torch.eye(n, dtype=torch.float64)).abs().max() <= tolerance
    assert R.tril(-1).abs().max() <= tolerance * R.abs().max()
    assert (R.diagonal(dim1=-2, dim2=-1) > 0).all()
    assert (Q @ R - X).norm() <= 2 * tolerance * X.norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_qr_factor_is_orthonormal_even_if_the_matrix_is_not_of_full_rank(dtype):
    for X in (of_rank(2, 9, 5), torch.zeros(9, 5)):
        Q = qr_factor(X.to(dtype))
        torch.testing.assert_close(Q.mT @ Q, torch.eye(5, dtype=dtype))
