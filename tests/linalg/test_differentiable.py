"""The differentiable polar factor against float64 SVDs and their gradients, on every kind of matrix."""

import math

import pytest
import torch

from orthobench.linalg import differentiable, polar_factor
from orthobench.linalg.differentiable import extreme_eigenvalues, orthonormal_factor
from orthobench.linalg.products import ProductCounter
from orthobench.linalg.symmetric import whole_products

SHAPES = ((1, 1), (1, 7), (24, 24), (20, 33), (33, 20), (90, 90), (70, 110))
CONDITIONS = (1, 1.5, 3, 7, 30, 1e3, 1e5)
DTYPES = (torch.float32, torch.float64)

both_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def orthonormal(m, n, seed):
    return torch.linalg.qr(normal(m, n, seed=seed))[0]


def matrix(m, n, condition, dtype=torch.float64, seed=0):
    """Return a matrix whose singular values are spread geometrically over [1 / condition, 1]."""
    size = min(m, n)
    values = torch.logspace(-math.log10(condition), 0, size, dtype=torch.float64)
    return (orthonormal(m, size, seed) * values @ orthonormal(n, size, seed + 1).mT).to(dtype)


def svd_gradient(X, G):
    """Return the gradient of <G, U V^T> in float64, by torch's derivative of the SVD."""
    X = X.double().requires_grad_()
    U, _, Vh = torch.linalg.svd(X, full_matrices=False)
    return torch.autograd.grad((U @ Vh * G.double()).sum(), X)[0]


def newton_gradient(X, G):
    """Return the same by automatic differentiation through sixty textbook steps, which needs no distinct values."""
    X = X.double().requires_grad_()
    Y = X.mT if X.shape[0] > X.shape[1] else X
    for _ in range(60):
        Y = 1.5 * Y - 0.5 * Y @ Y.mT @ Y
    Y = Y.mT if X.shape[0] > X.shape[1] else Y
    return torch.autograd.grad((Y * G.double()).sum(), X)[0]


def own_gradient(X, G):
    X = X.clone().requires_grad_()
    return torch.autograd.grad(orthonormal_factor(X), X, G.to(X.dtype))[0]


def relative(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


def gram_error(Q):
    """Return ||Q Q^T - I||_F / sqrt(m), m <= n, in float64."""
    Q = Q.detach().double()
    Q = Q.mT if Q.shape[0] > Q.shape[1] else Q
    return float((Q @ Q.mT - torch.eye(len(Q))).norm()) / len(Q) ** 0.5


def largest_singular_value(Q):
    return float(torch.linalg.matrix_norm(Q.detach().double(), 2))


@both_dtypes
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_polar_factor_with_orthonormal_rows_or_columns(shape, condition, dtype):
    X = matrix(*shape, condition, dtype)
    Q = orthonormal_factor(X)
    eps = torch.finfo(dtype).eps
    assert Q.dtype == dtype
    assert Q.is_contiguous()
    assert gram_error(Q) <= 4 * eps
    assert largest_singular_value(Q) <= 1 + 4 * eps < 1 + 1e-6
    expected = polar_factor(X.double())
    assert relative(Q, expected) <= 20 * eps * condition


@pytest.mark.parametrize("shape", [(512, 512), (200, 700)])
def test_large_matrices_whose_products_come_in_panels_are_no_less_orthonormal(shape):
    for X in (matrix(*shape, 2, torch.float32), normal(*shape, dtype=torch.float32)):
        Q = orthonormal_factor(X)
        assert gram_error(Q) <= 3e-7
        assert largest_singular_value(Q) <= 1 + 4e-7


@both_dtypes
@pytest.mark.parametrize("condition", CONDITIONS[1:])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_that_of_the_svd_based_polar_factor(shape, condition, dtype):
    X, G = matrix(*shape, condition, dtype), normal(*shape, seed=5)
    eps = torch.finfo(dtype).eps
    tolerance = (2e-5 if dtype == torch.float32 else 2e-12) + 10 * condition * eps
    expected = svd_gradient(X, G)
    found = own_gradient(X, G)
    if shape == (1, 1):
        assert found == 0
    elif dtype == torch.float64 or condition < 1e5:
        # The reference divides by differences of neighbouring singular values.
        noise = 1e-13 * condition * min(shape) ** 2
        assert relative(found, expected) <= tolerance + noise
    else:
        assert relative(found, expected) <= 10 * condition * eps


@both_dtypes
@pytest.mark.parametrize("shape", SHAPES[1:])
def test_the_gradient_at_orthonormal_matrices_is_exact_though_all_singular_values_coincide(shape, dtype):
    X, G = matrix(*shape, 1, dtype), normal(*shape, seed=5)
    assert relative(own_gradient(X, G), newton_gradient(X, G)) <= (2e-5 if dtype == torch.float32 else 2e-12)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3), (1, 4), (66, 66)])
def test_gradcheck(shape):
    X = normal(*shape).requires_grad_()
    assert torch.autograd.gradcheck(orthonormal_factor, X, fast_mode=max(shape) > 9, atol=1e-6)


@both_dtypes
@pytest.mark.parametrize("outliers", [1, 3])
def test_a_few_large_singular_values_among_equal_ones_change_nothing(outliers, dtype, monkeypatch):
    monkeypatch.setattr(differentiable, "LARGEST_CONDITION", {"cpu": 100})
    values = torch.ones(80, dtype=torch.float64)
    values[:outliers] = torch.linspace(2, 6, outliers)
    X = (orthonormal(80, 80, 0) * values @ orthonormal(80, 80, 1)).to(dtype)
    Q, G = orthonormal_factor(X), normal(80, 80, seed=5)
    assert gram_error(Q) <= 6 * torch.finfo(dtype).eps
    # Scaled down, the textbook steps converge.
    expected = newton_gradient(X / 4, G) / 4
    assert relative(own_gradient(X, G), expected) <= (2e-5 if dtype == torch.float32 else 2e-12)


@pytest.mark.parametrize("shape", [(30, 30), (20, 80), (80, 20)])
def test_the_eigenvectors_and_the_conjugate_gradients_solve_the_same_equation(shape, monkeypatch):
    X, G = matrix(*shape, 5), normal(*shape, seed=5)
    monkeypatch.setattr(differentiable, "LARGEST_CONDITION", {"cpu": 100})
    first = own_gradient(X, G)
    monkeypatch.setattr(differentiable, "LARGEST_CONDITION", {"cpu": 0})
    second = own_gradient(X, G)
    assert not torch.equal(first, second)
    assert relative(first, second) <= 1e-11


@pytest.mark.parametrize("condition", [1e3, math.inf])
def test_a_condition_number_that_was_estimated_far_too_low_costs_time_only(condition):
    X, G = matrix(40, 40, min(condition, 1e8)), normal(40, 40, seed=5)
    if condition == math.inf:
        X[0] = 0
    Q = orthonormal_factor(X)
    expected = differentiable._gradient(X, Q, G, condition)
    assert torch.equal(differentiable._gradient(X, Q, G, 1.1), expected)


RANK_DEFICIENT = {
    "rank_one": lambda m, n: normal(m, 1, seed=1) @ normal(1, n, seed=2),
    "half_rank": lambda m, n: normal(m, min(m, n) // 2, seed=1) @ normal(min(m, n) // 2, n, seed=2),
    "equal_rows": lambda m, n: torch.cat([normal(1, n), normal(1, n), normal(m - 2, n, seed=1)]),
    "zero_rows": lambda m, n: torch.cat([torch.zeros(3, n, dtype=torch.float64), normal(m - 3, n)]),
    "zero_columns": lambda m, n: torch.cat([torch.zeros(m, 3, dtype=torch.float64), normal(m, n - 3)], 1),
    "one_entry": lambda m, n: torch.nn.functional.pad(torch.ones(1, 1, dtype=torch.float64), (0, n - 1, 0, m - 1)),
}


@both_dtypes
@pytest.mark.parametrize("kind", RANK_DEFICIENT)
@pytest.mark.parametrize("shape", [(30, 30), (20, 75), (75, 20), (70, 70)])
def test_rank_deficient_matrices_have_norm_at_most_1_and_a_finite_gradient(shape, kind, dtype):
    X = RANK_DEFICIENT[kind](*shape).to(dtype)
    Q = orthonormal_factor(X)
    assert Q.isfinite().all()
    assert largest_singular_value(Q) <= 1 + 6 * torch.finfo(dtype).eps
    assert own_gradient(X, normal(*shape, seed=5)).isfinite().all()
    # What is there of the polar factor is right: <X, Q> is the sum of the singular values.
    total = torch.linalg.svdvals(X.double()).sum()
    assert (X.double() * Q).sum() == pytest.approx(float(total), rel=1e-5)


@both_dtypes
@pytest.mark.parametrize("shape", [(8, 8), (4, 9), (9, 4)])
def test_zero_gives_zero_and_a_zero_gradient(shape, dtype):
    X = torch.zeros(shape, dtype=dtype)
    assert not orthonormal_factor(X).any()
    assert not own_gradient(X, normal(*shape)).any()


def test_a_zero_gradient_stays_zero():
    assert not own_gradient(normal(6, 9), torch.zeros(6, 9)).any()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_entries_give_nan(value):
    X = normal(6, 9, dtype=torch.float32)
    X[2, 3] = value
    assert orthonormal_factor(X).isnan().all()
    assert own_gradient(X, normal(6, 9)).isnan().all()
    X, G = normal(6, 9, dtype=torch.float32), normal(6, 9)
    G[2, 3] = value
    assert own_gradient(X, G).isnan().all()


@pytest.mark.parametrize("condition", [2, 1e3])
@pytest.mark.parametrize("power", [-100, -3, 60, 120])
def test_the_scale_of_the_matrix_changes_nothing_and_divides_the_gradient(power, condition):
    X, G = matrix(9, 12, condition, torch.float32), normal(9, 12)
    scaled = X * 2.0**power
    assert torch.equal(orthonormal_factor(scaled), orthonormal_factor(X))
    assert torch.allclose(own_gradient(scaled, G) * 2.0**power, own_gradient(X, G), rtol=1e-4, atol=1e-6)
    # The gradient may be as small or large as it likes.
    tiny = 2.0 ** -abs(power)
    assert torch.allclose(own_gradient(X, G * tiny) / tiny, own_gradient(X, G), rtol=1e-4, atol=1e-6)


def test_the_gradient_is_orthogonal_to_the_matrix():
    X, G = normal(20, 30), normal(20, 30, seed=5)
    gradient = own_gradient(X, G)
    assert abs(float((gradient * X).sum())) <= 1e-12 * float(gradient.norm() * X.norm())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded(dtype):
    X, G = matrix(20, 30, 3, dtype), normal(20, 30, seed=5, dtype=dtype)
    assert torch.equal(orthonormal_factor(X), orthonormal_factor(X.float()).to(dtype))
    assert relative(own_gradient(X, G), own_gradient(X.double(), G)) <= 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("shape", [(20, 30), (30, 20)])
def test_neither_autocast_nor_strides_change_the_result(shape):
    X, G = matrix(*shape, 3, torch.float32), normal(*shape, dtype=torch.float32)
    transposed = X.mT.contiguous().mT
    expected, gradient = orthonormal_factor(X), own_gradient(X, G)
    before = X.clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(orthonormal_factor(X), expected)
        assert torch.equal(own_gradient(X, G), gradient)
    assert torch.equal(orthonormal_factor(transposed), expected)
    assert torch.equal(X, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, *DTYPES])
def test_without_data_there_are_shapes_and_types(dtype):
    for shape in ((4, 6), (6, 4), (1, 1)):
        matrix = torch.empty(shape, dtype=dtype, device="meta", requires_grad=True)
        factor = orthonormal_factor(matrix)
        factor.sum().backward()
        for each in (factor, matrix.grad):
            assert (each.shape, each.dtype, each.device) == (matrix.shape, dtype, matrix.device)


def test_a_second_derivative_is_refused():
    X = normal(5, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(orthonormal_factor(X).square()[0].sum(), X, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; differentiate once only"):
        gradient.sum().backward()


@pytest.mark.parametrize("shape", [(6, 6), (4, 6), (6, 4)])
def test_functional_transforms_take_batches_of_matrices_and_of_gradients(shape):
    X, batch = normal(*shape), normal(3, *shape, seed=1)
    mapped = torch.func.vmap(orthonormal_factor, in_dims=1)(batch.transpose(0, 1))
    assert torch.equal(mapped, torch.stack([orthonormal_factor(each) for each in batch]))

    def loss(matrix, target):
        return (orthonormal_factor(matrix) * target).sum()

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(X, batch)
    assert torch.allclose(gradients, torch.stack([own_gradient(X, each) for each in batch]), atol=1e-12)


@pytest.mark.parametrize(("condition", "forwards", "backwards"), [(1, 2, 5), (1.5, 8, 10), (2.5, 9, 13), (30, 18, 5)])
def test_the_better_the_condition_the_fewer_the_products(condition, forwards, backwards):
    X, G = matrix(128, 128, condition, torch.float32), normal(128, 128, dtype=torch.float32)
    leaf = X.clone().requires_grad_()
    with whole_products(), ProductCounter() as forward:
        Q = orthonormal_factor(leaf)
    with whole_products(), ProductCounter() as backward:
        Q.backward(G)
    assert forward.products <= forwards
    # The product of X and Q makes one more before the eigendecomposition.
    assert backward.products <= backwards + (condition == 30)
    assert backward.factorised == (condition == 30)


@pytest.mark.parametrize("name", ["_orthonormalise", "_gradient"])
def test_products_are_in_full_float32_and_the_settings_stay(name, monkeypatch):
    seen, original = [], getattr(differentiable, name)

    def noted(*arguments):
        seen.append(torch.backends.mkldnn.matmul.fp32_precision)
        return original(*arguments)

    monkeypatch.setattr(differentiable, name, noted)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        own_gradient(normal(5, 5, dtype=torch.float32), normal(5, 5))
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == ["ieee"]


@both_dtypes
def test_estimates_of_extreme_eigenvalues_are_near(dtype):
    V = orthonormal(200, 200, 3)
    for values in (
        torch.linspace(-1, 2, 200),
        torch.logspace(-3, 0, 200),
        torch.cat([torch.ones(198), torch.tensor([0.2, 5])]),
        torch.cat([torch.full((100,), 0.3), torch.full((100,), 0.5)]),
        torch.full((200,), 2.0),
    ):
        A = (V * values @ V.mT).to(dtype)
        low, high = extreme_eigenvalues((A + A.mT) / 2)
        size = float(values.abs().max())
        assert low == pytest.approx(float(values.min()), abs=0.03 * size)
        assert high == pytest.approx(float(values.max()), abs=0.03 * size)


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        ([[1.0]], TypeError, r"matrix must be a torch.Tensor, got list"),
        (torch.ones(2, 2, dtype=torch.int64), TypeError, r"dtype float16, .*, got torch.int64; convert it"),
        (torch.ones(2, 2, dtype=torch.complex64), TypeError, r"got torch.complex64"),
        (torch.ones(3), ValueError, r"shape \(m, n\) with m, n >= 1, got \(3,\)"),
        (torch.ones(2, 3, 3), ValueError, r"got \(2, 3, 3\)"),
        (torch.ones(0, 3), ValueError, r"got \(0, 3\)"),
    ],
)
def test_wrong_arguments_are_named(argument, error, message):
    with pytest.raises(error, match=message):
        orthonormal_factor(argument)
