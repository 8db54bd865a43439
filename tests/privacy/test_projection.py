"""No projection leaves a singular value above 1, and no bound is below the norm: by a float64 SVD."""

import math

import pytest
import torch

from orthobench.privacy.norms import _has_cholesky_factor, cholesky_norm, exact_norm, gelfand_norm, random_start_norm
from orthobench.privacy.projection import PROJECTIONS, ProbabilisticProjection
from orthobench.privacy.sensitivity import SLACK

BOUNDS = {
    "exact": exact_norm,
    "gelfand": gelfand_norm,
    "cholesky": cholesky_norm,
    "random start": lambda matrix: random_start_norm(matrix, 1e-12, torch.Generator().manual_seed(5)),
}


def normal(m, n, seed=0):
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_spectrum(m, n, values, seed=0):
    U, _, Vh = torch.linalg.svd(normal(m, n, seed), full_matrices=False)
    return U * torch.as_tensor(values, dtype=torch.float64) @ Vh


MATRICES = {
    "square": normal(96, 96),
    "wide": normal(70, 150) / 20,
    "tall": normal(150, 70) * 100,
    "a row": normal(1, 30),
    "one entry": normal(1, 1),
    "rank one": normal(90, 1) @ normal(1, 80),
    "orthogonal": with_spectrum(96, 96, [1.0] * 96),
    "nearly orthogonal": with_spectrum(96, 128, torch.linspace(0.98, 1.02, 96).double()),
    "a gap": with_spectrum(96, 96, [1.3] + [0.01] * 95),
    "two equal": with_spectrum(96, 96, [1.1, 1.1] + [0.5] * 94),
    "tiny": normal(80, 80) * 1e-17,
    "large": normal(80, 80) * 1e15,
    "all equal": torch.full((80, 100), 0.7, dtype=torch.float64),
}


def norm_of(matrix):
    return float(torch.linalg.svdvals(matrix.double())[0])


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_bound_is_below_the_norm(bound, name, dtype):
    matrix = MATRICES[name].to(dtype)
    found, norm = BOUNDS[bound](matrix), norm_of(matrix)
    assert found * (1 + SLACK[dtype]) >= norm
    assert found <= 1.35 * norm


@pytest.mark.parametrize("bound", BOUNDS)
def test_zeros_and_numbers_that_are_none(bound):
    assert 0 <= BOUNDS[bound](torch.zeros(70, 70)) < 1e-15
    for value in (math.nan, math.inf):
        matrix = torch.ones(70, 70)
        matrix[3, 4] = value
        assert not BOUNDS[bound](matrix) < math.inf


def test_a_power_iteration_would_not_do():
    """What the specification measured: after 3 steps from a random vector it is 8 % below."""
    matrix, x = normal(256, 256), normal(256, 1, seed=1)
    for _ in range(3):
        x = torch.nn.functional.normalize(matrix.T @ (matrix @ x), dim=0)
    assert norm_of(matrix) > 1.03 * float((matrix @ x).norm())
    assert norm_of(matrix) <= cholesky_norm(matrix)


@pytest.mark.parametrize("squarings", [0, 2, 6])
@pytest.mark.parametrize("n", [1, 16, 96, 1024])
def test_the_gelfand_bound_is_above_by_at_most_what_is_stated(n, squarings):
    if n == 1024 and squarings != 6:
        pytest.skip("the smaller ones show it")
    orthogonal = torch.eye(n, dtype=torch.float32)  # the worst: all singular values equal
    stated = n ** (1 / 2 ** (squarings + 2))
    assert gelfand_norm(orthogonal, squarings) == pytest.approx(stated, rel=1e-5)
    if n == 1024:
        assert stated == pytest.approx(1.027, abs=1e-3)
    else:
        matrix = normal(n, n)
        assert norm_of(matrix) <= gelfand_norm(matrix, squarings) <= stated * norm_of(matrix) * (1 + 1e-9)


def test_the_cholesky_bound_is_tight_once_its_vector_has_converged():
    matrix, start = with_spectrum(300, 310, torch.linspace(0.2, 1.0, 300).double()), normal(300, 1, seed=2)[:, 0]
    for _ in range(8):
        found = cholesky_norm(matrix, start)
    assert 1 <= found <= 1.0011
    assert (start @ matrix).norm() > 0.99


def test_the_cholesky_certificate_does_not_hang_on_its_guess():
    """Vectors without any share of the largest singular vector: the first guesses are too small, and fail."""
    U, _, Vh = torch.linalg.svd(normal(300, 300))
    matrix = U * torch.tensor([3.0] + [1.0] * 299).double() @ Vh
    assert norm_of(matrix) <= cholesky_norm(matrix, U[:, 1].clone()) <= 5
    assert norm_of(matrix) <= cholesky_norm(matrix, torch.zeros(300).double()) <= 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("index", [0, 255, 256, 599])
def test_a_matrix_has_a_cholesky_factor_if_its_eigenvalues_are_positive(index, dtype):
    values = torch.full((600,), 0.5).double()
    for least, expected in ((1e-4, True), (-1e-4, False)):
        values[index] = least
        U = torch.linalg.qr(normal(600, 600))[0]
        assert _has_cholesky_factor((U * values @ U.T).to(dtype)) == expected
        # A diagonal matrix has its negative entry in the block of its index.
        assert _has_cholesky_factor(values.diag().to(dtype)) == expected


@pytest.mark.parametrize("name", ["square", "wide", "rank one", "orthogonal", "nearly orthogonal", "all equal"])
def test_the_certificate_in_float32_fails_within_a_tenth_of_the_slack(name):
    matrix = (MATRICES[name] / norm_of(MATRICES[name])).float()
    product = matrix @ matrix.T
    square = norm_of(matrix) ** 2 * (1 - 2 * SLACK[torch.float32] / 10)
    assert not _has_cholesky_factor(square * torch.eye(len(matrix)) - product)
    assert _has_cholesky_factor(square * (1 + 1e-5) * torch.eye(len(matrix)) - product)


@pytest.mark.parametrize("vectors", [1, 4])
def test_the_failure_probability_is_that_of_a_matrix_of_rank_one(vectors):
    """There the sum is exactly chi-squared, so that the bound fails as often as stated; never more for others."""
    probability, draws = 0.1, 1000
    one, flat = normal(6, 1) @ normal(1, 5), with_spectrum(6, 6, [1.0] * 6)
    generator = torch.Generator().manual_seed(0)
    counts = [
        sum(
            random_start_norm(matrix, probability, generator, iterations=2, vectors=vectors) < norm_of(matrix)
            for _ in range(draws)
        )
        for matrix in (one, flat)
    ]
    deviation = math.sqrt(draws * probability * (1 - probability))
    assert abs(counts[0] - draws * probability) < 4 * deviation
    assert counts[1] < draws * probability


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_projected_matrix_has_no_singular_value_above_1(projection, name, dtype):
    matrix = MATRICES[name].to(dtype).clone()
    before = matrix.clone()
    bound = PROJECTIONS[projection]().project(name, matrix)
    assert norm_of(matrix) <= bound * (1 + SLACK[dtype]) + 1e-15
    assert bound <= 1
    if norm_of(before) <= 0.7:
        assert torch.equal(matrix, before)
    else:
        assert norm_of(matrix) > 0.7


def test_the_svd_gives_the_nearest_matrix():
    values = torch.tensor([3.0, 1.2, 0.9, 0.1]).double()
    matrix = with_spectrum(4, 6, values)
    expected = with_spectrum(4, 6, values.clamp(max=1))
    PROJECTIONS["svd"]().project("w", matrix)
    assert torch.allclose(matrix, expected, atol=1e-14)


@pytest.mark.parametrize("projection", ["gelfand", "cholesky", "probabilistic"])
def test_others_divide(projection):
    matrix = 3 * normal(80, 90)
    before = matrix.clone()
    PROJECTIONS[projection]().project("w", matrix)
    ratio = matrix / before
    assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio))


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_the_growth_by_an_update_is_bounded(projection):
    weight, update = normal(80, 90) / 20, normal(80, 90, seed=1) / 100
    growth = PROJECTIONS[projection]().growth("w", update)
    assert norm_of(weight + update) <= norm_of(weight) + growth
    assert growth >= norm_of(update)


def test_the_probabilistic_growth_by_noise_is_far_below_the_frobenius_norm():
    update = normal(256, 256)
    assert ProbabilisticProjection().growth("w", update) < 0.4 * float(update.norm())


@pytest.mark.parametrize("value", [0.0, 1.0, -1e-9, 2.0])
def test_a_failure_probability_is_one(value):
    with pytest.raises(ValueError, match="failure_probability"):
        ProbabilisticProjection(value)
