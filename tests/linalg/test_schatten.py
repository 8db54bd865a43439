"""Powers of the singular values against float64 SVDs, by every method, on every kind of spectrum."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from orthobench.data.spectra import gaussian, with_spectrum
from orthobench.linalg import exact_factors, polar_factor, schatten_power, spectral_errors
from orthobench.linalg.precision import full_float32
from orthobench.linalg.products import count_products
from orthobench.linalg.schatten import STEPS, WEIGHTS

KINDS = ("gaussian", "log_uniform", "power_law", "low_rank", "levy", "row_scaled")
FACTORISATIONS = ("eigh", "svd")
DYADIC = (1 / 8, 1 / 4, 1 / 2)
# Exponents that a method is tried with.
CASES = [(method, e) for method in FACTORISATIONS for e in (-0.5, -0.25, 0, 0.125, 0.3, 0.5, 1)]
CASES += [("products", e) for e in DYADIC]
DTYPES = (torch.float32, torch.bfloat16, torch.float64)

all_cases = pytest.mark.parametrize(("method", "exponent"), CASES)
all_methods = pytest.mark.parametrize("method", [*FACTORISATIONS, "products"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def matrix_of_kind(kind, shape, seed=0):
    if kind == "gaussian":
        return gaussian(shape, 1, generator(seed))[0]
    return with_spectrum(kind, shape, 1, generator(seed))[0]


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def with_singular_values(values, m, n):
    left, right = (torch.linalg.qr(normal(size, len(values), seed=seed))[0] for seed, size in enumerate((m, n)))
    return left * torch.as_tensor(values, dtype=torch.float64) @ right.T


def exact(X, exponent, rank=None):
    """U_r S_r^e V_r^T in float64."""
    U, s, Vt = np.linalg.svd(X.double().numpy(), full_matrices=False)
    r = len(s) if rank is None else rank
    return torch.from_numpy((U[..., :r] * s[..., None, :r] ** exponent) @ Vt[..., :r, :])


def error(result, expected):
    return float((result.double() - expected).norm() / expected.norm())


# --- accuracy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(128, 128), (64, 200), (200, 64)])
def test_float32_results_are_those_of_a_float64_svd(kind, shape):
    X = matrix_of_kind(kind, shape)
    factors = exact_factors(X)
    for method, exponent in CASES:
        errors = spectral_errors(schatten_power(X, exponent, method), factors, exponent)
        # "row_scaled" matrices have singular values at the numerical rank, where "products" has no threshold.
        ill = kind == "row_scaled"
        tolerance = {"eigh": 1e-6, "svd": 3e-3 if ill else 1e-4, "products": 0.05 if ill else 0.03}[method]
        assert errors["relative_error"] < tolerance, (method, exponent)


@pytest.mark.parametrize("kind", ["gaussian", "log_uniform", "power_law", "low_rank"])
def test_products_are_as_accurate_on_larger_matrices_and_other_seeds(kind):
    X = matrix_of_kind(kind, (384, 384), seed=7)
    for exponent in DYADIC:
        assert error(schatten_power(X, exponent, "products"), exact(X, exponent)) < 0.018


@pytest.mark.parametrize("condition", [1e1, 1e3, 5e4])
@pytest.mark.parametrize("shape", [(48, 48), (48, 100)])
def test_ill_conditioned_matrices_keep_their_small_singular_values(condition, shape):
    values = condition ** -torch.linspace(0, 1, 48, dtype=torch.float64)
    X = with_singular_values(values, *shape).float()
    for method, exponent in CASES:
        tolerance = {"eigh": 1e-5, "svd": 1e-7 * condition + 1e-5, "products": 0.018}[method]
        assert error(schatten_power(X, exponent, method), exact(X, exponent)) < tolerance, (method, exponent)


@all_cases
@pytest.mark.parametrize("r", [1, 3, 20])
@pytest.mark.parametrize("shape", [(60, 60), (60, 90), (90, 60)])
def test_rank_deficient_matrices_have_no_noise_in_the_null_space(method, exponent, r, shape):
    X = with_singular_values(1 / torch.arange(1, r + 1), *shape).float()
    tolerance = {"eigh": 1e-5, "svd": 1e-4, "products": 0.02}[method]
    rank = None if exponent == 1 else r
    assert error(schatten_power(X, exponent, method), exact(X, exponent, rank)) < tolerance


@pytest.mark.parametrize("exponent", DYADIC)
def test_one_large_singular_value_does_not_hide_many_small_ones(exponent):
    X = with_singular_values([1.0] + [1e-4] * 127, 128, 128).float()
    assert error(schatten_power(X, exponent, "products"), exact(X, exponent)) < 0.02


@pytest.mark.parametrize("exponent", DYADIC)
def test_each_singular_value_from_1e_5_on_has_the_documented_error_and_smaller_ones_fade(exponent):
    s = np.exp(np.linspace(math.log(1e-5), math.log(1.01), 200_001))
    assert np.abs(weighted_iterates(s, exponent) / s**exponent - 1).max() < 0.018
    tiny = np.exp(np.linspace(math.log(1e-12), math.log(1e-5), 10_001))
    ratio = weighted_iterates(tiny, exponent) / tiny**exponent
    assert (np.diff(ratio) > 0).all()
    slope = weighted_iterates(1e-12, exponent) / 1e-12
    assert slope * 1e-5 < 1.5 * 1e-5**exponent


def weighted_iterates(s, exponent):
    total = WEIGHTS[exponent][0] * s
    for (a, b, c), weight in zip(STEPS, WEIGHTS[exponent][1:], strict=True):
        s = a * s + b * s**3 + c * s**5
        total = total + weight * s
    return total


@all_cases
def test_float64_matrices_are_computed_in_float64(method, exponent):
    X = normal(20, 30)
    tolerance = 0.018 if method == "products" else 1e-12
    assert error(schatten_power(X, exponent, method), exact(X, exponent)) < tolerance


@all_cases
def test_bfloat16_matrices_are_computed_in_float32_and_rounded_once(method, exponent):
    X = normal(3, 20, 30, dtype=torch.bfloat16)
    result = schatten_power(X, exponent, method)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, schatten_power(X.float(), exponent, method).bfloat16())


def test_products_do_not_care_how_precise_the_users_products_are():
    X = matrix_of_kind("power_law", (96, 96))
    expected = schatten_power(X, 0.5, "products")
    previous = torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "high", "medium"):
            torch.set_float32_matmul_precision(precision)
            assert torch.equal(schatten_power(X, 0.5, "products"), expected)
            assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(previous)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tf32_reaches_no_product_on_a_gpu():
    X = matrix_of_kind("power_law", (96, 96)).to("cuda", torch.float32)
    products = {}
    previous = torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "high"):
            torch.set_float32_matmul_precision(precision)
            products[precision] = schatten_power(X, 0.5, "products"), X @ X.mT
    finally:
        torch.set_float32_matmul_precision(previous)
    (ours, plain), (same, rounded) = products["highest"], products["high"]
    assert torch.equal(ours, same)
    # What would have reached it, on cards that have TF32.
    assert torch.equal(plain, rounded) == (torch.cuda.get_device_capability() < (8, 0))


def test_full_float32_puts_the_users_settings_back_after_an_error_too():
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [each.fp32_precision for each in backends]
    previous = torch.get_float32_matmul_precision()

    def fail_inside():
        with full_float32():
            assert {each.fp32_precision for each in backends} == {"ieee"}
            raise ArithmeticError

    try:
        torch.set_float32_matmul_precision("medium")
        with pytest.raises(ArithmeticError):
            fail_inside()
        assert [each.fp32_precision for each in backends] == ["tf32", "bf16"]
    finally:
        torch.set_float32_matmul_precision(previous)
        for each, setting in zip(backends, before, strict=True):
            each.fp32_precision = setting


# --- special exponents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", FACTORISATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_exponent_one_is_the_identity_to_the_last_bit(method, dtype):
    X = normal(2, 5, 8, dtype=dtype)
    result = schatten_power(X, 1, method)
    assert torch.equal(result, X)
    assert result.data_ptr() != X.data_ptr()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponent_zero_is_the_polar_factor(dtype):
    X = normal(2, 9, 6, dtype=dtype)
    assert torch.equal(schatten_power(X, 0, "svd"), polar_factor(X))
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-5
    assert error(schatten_power(X, 0, "eigh"), polar_factor(X).double()) < tolerance


def test_an_exponent_may_be_any_real_number_type():
    X = normal(4, 6)
    for exponent in (Fraction(1, 2), np.float32(0.5), np.float64(0.5)):
        assert torch.equal(schatten_power(X, exponent, "products"), schatten_power(X, 0.5, "products"))
    assert torch.equal(schatten_power(X, np.int64(0)), schatten_power(X, 0))


# --- cost ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", DYADIC)
def test_the_products_are_thirty_whatever_the_exponent(exponent):
    m, n, batch = 8, 13, 3
    X = normal(batch, m, n, dtype=torch.float32)
    products, flops = count_products(schatten_power, X, exponent, "products")
    assert products == 30 * batch
    assert flops == 10 * batch * (4 * m**2 * n + 2 * m**3)
    assert count_products(schatten_power, X.mT, exponent, "products") == (products, flops)
    with FlopCounterMode(display=False) as counter:
        schatten_power([X[0], X[1], X[2].clone()], exponent, "products")
    assert counter.get_total_flops() == flops


# --- scale -----------------------------------------------------------------------------------------------------------


@all_cases
@pytest.mark.parametrize("log2", [-100, -12, 4, 96])
def test_a_power_of_two_comes_out_as_its_power_to_the_last_bit(method, exponent, log2):
    X = normal(2, 6, 9, dtype=torch.float32)
    scaled = schatten_power(X * 2.0**log2, exponent, method)
    expected = schatten_power(X, exponent, method) * 2.0 ** (log2 * exponent)
    if (log2 * exponent) % 1 == 0:
        assert torch.equal(scaled, expected)
    else:
        torch.testing.assert_close(scaled, expected, rtol=1e-6, atol=0)


@all_cases
@pytest.mark.parametrize("scale", [3e-6, 0.7, 1e20])
def test_any_factor_comes_out_as_its_power_to_rounding(method, exponent, scale):
    X = normal(2, 12, 20, dtype=torch.float32)
    expected = schatten_power(X, exponent, method).double() * scale**exponent
    assert error(schatten_power(X * scale, exponent, method), expected) < 1e-4


@all_cases
@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_and_huge_entries_do_no_harm(method, exponent, dtype):
    small = torch.tensor([[3.0, 1.0, 0.0, -2.0], [0.0, 5.0, 1.0, 4.0]], dtype=dtype)
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    result = schatten_power(small * smallest, exponent, method).double()
    expected = schatten_power(small.double(), exponent, method) * float(smallest) ** exponent
    # A power that is subnormal itself has few digits.
    assert (result - expected).norm() <= 1e-2 * expected.norm() + 2 * float(smallest)
    huge = schatten_power(torch.full((5, 7), torch.finfo(dtype).max, dtype=dtype), exponent, method)
    assert huge.isfinite().all()
    assert (huge > 0).all()


# --- conventions -----------------------------------------------------------------------------------------------------


@all_cases
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (6, 6), (2, 3, 5, 9), (3, 9, 5)])
def test_shapes_batches_transposes_and_memory(method, exponent, dtype, shape):
    X = normal(*shape, dtype=dtype)
    before = X.clone()
    result = schatten_power(X, exponent, method)
    assert torch.equal(X, before)
    assert (result.shape, result.dtype) == (X.shape, X.dtype)
    assert not result.requires_grad
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 5e-2}[dtype]
    assert error(schatten_power(X.mT, exponent, method).mT, result.double()) < tolerance
    flat, results = X.reshape(-1, *shape[-2:]), result.reshape(-1, *shape[-2:])
    for one, expected in zip(flat, results, strict=True):
        assert error(schatten_power(one, exponent, method), expected.double()) < tolerance


@all_methods
def test_a_list_gives_in_its_order_what_its_tensors_give(method):
    tensors = [normal(4, 6), normal(6, 4, dtype=torch.float32), normal(4, 6, seed=1), normal(2, 4, 6), torch.ones(0, 3)]
    results = schatten_power(tensors, 0.5, method)
    assert isinstance(results, list)
    for result, tensor in zip(results, tensors, strict=True):
        torch.testing.assert_close(result, schatten_power(tensor, 0.5, method))
    assert schatten_power([], 0.5, method) == []


@all_cases
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_gives_zero(method, exponent, dtype):
    X = normal(3, 4, 6, dtype=dtype)
    X[1] = 0
    result = schatten_power(X, exponent, method)
    assert not result[1].any()
    assert torch.equal(result[::2], schatten_power(X[::2], exponent, method))
    assert not schatten_power(torch.zeros(5, 5, dtype=dtype), exponent, method).any()


@all_cases
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_entry_makes_its_matrix_nan_and_no_other(method, exponent, bad):
    X = normal(3, 4, 6, dtype=torch.float32)
    clean = schatten_power(X, exponent, method)
    X[1, 2, 3] = bad
    result = schatten_power(X, exponent, method)
    assert result[1].isnan().all()
    assert torch.equal(result[::2], clean[::2])


# --- errors ----------------------------------------------------------------------------------------------------------


@all_methods
@pytest.mark.parametrize("exponent", [-0.51, 1.01, 2, float("nan"), float("inf"), -float("inf")])
def test_an_exponent_out_of_range_is_named_with_the_range(method, exponent):
    with pytest.raises(ValueError, match=rf"from -0\.5 to 1, got {float(exponent)}; 1 keeps .*, 0 gives"):
        schatten_power(normal(3, 4), exponent, method)


@all_methods
@pytest.mark.parametrize("exponent", [True, "1/2", None, 1j, torch.tensor(0.5)])
def test_an_exponent_that_is_no_number_is_named_with_its_type(method, exponent):
    with pytest.raises(TypeError, match=rf"from -0\.5 to 1, got .*\({type(exponent).__name__}\)"):
        schatten_power(normal(3, 4), exponent, method)


@pytest.mark.parametrize("exponent", [0, 1, 0.3, -0.5])
def test_products_name_their_exponents_and_what_to_use_instead(exponent):
    with pytest.raises(
        ValueError, match=rf"1/8, 1/4 or 1/2 .* got {float(exponent)}; use method='eigh'.*newton_schulz"
    ):
        schatten_power(normal(3, 4), exponent, "products")


@pytest.mark.parametrize("method", ["qr", None, ["svd"]])
def test_an_unknown_method_is_named_with_the_known_ones(method):
    with pytest.raises(ValueError, match=r"^method must be one of 'eigh', 'svd', 'products', got .*; use 'eigh'"):
        schatten_power(normal(3, 4), 0.5, method)


@all_methods
def test_inputs_are_refused_as_by_the_other_functions(method):
    with pytest.raises(TypeError, match=r"dtype float32, bfloat16, float64, got torch\.float16; .*float32"):
        schatten_power(torch.ones(3, 3, dtype=torch.float16), 0.5, method)
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        schatten_power(torch.ones(3), 0.5, method)
    with pytest.raises(TypeError, match=r"^matrices\[1\] must be a torch\.Tensor"):
        schatten_power([torch.ones(3, 3), None], 0.5, method)
