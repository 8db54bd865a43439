"""Conventions that every function from matrices to matrices keeps: shapes, lists, scale, memory, errors."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orthobench.linalg import RECIPES, aol_rescale, newton_schulz, polar_factor, qr_factor
from orthobench.linalg.scaling import divide_by_power_of_two

FUNCTIONS = {
    **{recipe: partial(newton_schulz, recipe=recipe) for recipe in RECIPES},
    **{
        f"{recipe} {method}": partial(newton_schulz, recipe=recipe, method=method)
        for recipe in ("muon", "turbo_muon", "polar_express_8")
        for method in ("plain", "gram")
    },
    "aol_rescale": aol_rescale,
    "polar_factor": polar_factor,
    "qr_factor": qr_factor,
}
SCALES_ROWS = (*(name for name, recipe in RECIPES.items() if recipe.preconditioner == "aol"), "aol_rescale")
# Allowed relative difference between two orders of the same operations. A small singular value may grow 500 times.
ROUNDING = {torch.float64: 1e-11, torch.float32: 2e-3, torch.bfloat16: 5e-2}
# These map the interval up to 1 to a wide band so steeply that another rounding of the input to bfloat16 moves the
# largest singular value through that band.
STEEP = ("polar_express", "cans", "cubic5")

all_functions = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
few_examples = settings(max_examples=12, deadline=None, derandomize=True)
seeds = st.integers(0, 2**31)
sizes = st.integers(1, 6)
dtypes = st.sampled_from(list(ROUNDING))


def well_conditioned(seed, m, dtype=torch.float32, batch=()):
    """Gaussian, with the long side 8 longer than the short one: every singular value is well above rounding."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, m, m + 8, generator=generator, dtype=torch.float64).to(dtype)


def assert_same_to_rounding(actual, expected, tolerances=ROUNDING):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    difference = (actual.double() - expected.double()).norm()
    assert difference <= tolerances[expected.dtype] * expected.double().norm()


@all_functions
@given(seed=seeds, m=sizes, dtype=dtypes, batch=st.lists(st.integers(1, 3), max_size=3))
@few_examples
def test_shape_and_dtype_are_kept_for_any_number_of_batch_dimensions(function, seed, m, dtype, batch):
    for X in (well_conditioned(seed, m, dtype, batch), well_conditioned(seed, m, dtype, batch).mT):
        result = function(X)
        assert (result.shape, result.dtype, result.device) == (X.shape, X.dtype, X.device)
        assert result.isfinite().all()


@all_functions
@given(seed=seeds, m=sizes, dtype=dtypes)
@few_examples
def test_a_batch_gives_what_its_matrices_give_one_at_a_time(function, seed, m, dtype):
    X = well_conditioned(seed, m, dtype, (2, 3))
    result = function(X)
    for i in range(2):
        for j in range(3):
            assert_same_to_rounding(result[i, j], function(X[i, j]))


@all_functions
@given(seed=seeds, m=sizes, dtype=dtypes)
@few_examples
def test_a_list_gives_in_its_order_what_its_tensors_give(function, seed, m, dtype):
    tensors = [
        well_conditioned(seed, m, dtype),
        well_conditioned(seed + 1, m + 1, dtype).mT,
        well_conditioned(seed + 2, m, dtype, (2, 2)),
        well_conditioned(seed + 3, m, dtype).mT,
        well_conditioned(seed + 4, m, torch.float64),
        well_conditioned(seed + 5, m, dtype),
        well_conditioned(seed + 6, m, dtype, (0,)),
    ]
    for given_as in (list, tuple):
        results = function(given_as(tensors))
        assert isinstance(results, list)
        assert len(results) == len(tensors)
        for result, tensor in zip(results, tensors, strict=True):
            assert_same_to_rounding(result, function(tensor))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_list_is_done_with_one_product_a_shape(recipe):
    tensors = [well_conditioned(seed, m) for m in (3, 5) for seed in range(4)]

    def products(matrices):
        with torch.profiler.profile() as profile:
            newton_schulz(matrices, recipe)
        names = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")
        return sum(event.count for event in profile.key_averages() if event.key in names)

    assert products(tensors) == products(tensors[0]) + products(tensors[-1])


def test_an_empty_list_gives_an_empty_list():
    assert polar_factor([]) == []


@all_functions
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4, 3), (0, 5), (5, 0), (2, 0, 0)])
def test_tensors_without_entries_give_tensors_without_entries(function, shape):
    X = torch.empty(shape)
    assert function(X).shape == X.shape
    assert function(X) is not X
    assert [result.shape for result in function([X, X])] == [X.shape, X.shape]


@all_functions
@given(seed=seeds, m=sizes, dtype=dtypes)
@few_examples
def test_the_transpose_gives_the_transpose(function, seed, m, dtype):
    X = well_conditioned(seed, m, dtype)
    assert_same_to_rounding(function(X.mT), function(X).mT)
    assert_same_to_rounding(function(X.mT.contiguous()), function(X).mT)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_square_matrices_are_transposed_too_unless_rows_are_scaled(name):
    X = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    same = torch.allclose(FUNCTIONS[name](X.mT), FUNCTIONS[name](X).mT, atol=1e-9)
    # The Q of a square X is that of its columns, so it is not symmetric in the two sides either.
    assert same == (name.split()[0] not in (*SCALES_ROWS, "qr_factor"))


@all_functions
@given(seed=seeds, m=sizes, dtype=dtypes, exponent=st.integers(-90, 90))
@few_examples
def test_scaling_by_a_power_of_two_changes_no_bit(function, seed, m, dtype, exponent):
    X = well_conditioned(seed, m, dtype, (2,))
    assert torch.equal(function(X * 2.0**exponent), function(X))


@given(seed=seeds, m=sizes, dtype=dtypes, exponent=st.integers(-80, 80))
@few_examples
def test_the_first_scaling_is_exact(seed, m, dtype, exponent):
    X = well_conditioned(seed, m, dtype, (2,)) * 2.0**exponent
    scaled = divide_by_power_of_two(X)
    assert ((scaled.abs().amax((-2, -1)) >= 1) & (scaled.abs().amax((-2, -1)) < 2)).all()
    power = (X / scaled).amax((-2, -1), keepdim=True)
    assert (power.double().log2() % 1 == 0).all()
    assert torch.equal(scaled * power, X)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(seed=seeds, m=sizes, dtype=dtypes, log10=st.floats(-30, 30))
@few_examples
def test_scaling_changes_nothing_but_rounding(name, seed, m, dtype, log10):
    X = well_conditioned(seed, m, dtype)
    # In bfloat16 the scaled entries and their norm are rounded anew, and then go through the slope of the polynomials.
    tolerances = ROUNDING | {torch.bfloat16: 0.5 if name in STEEP else 0.1}
    assert_same_to_rounding(FUNCTIONS[name](X * 10**log10), FUNCTIONS[name](X), tolerances)


@all_functions
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-12, 1e-30])
def test_tiny_gradients_are_orthogonalised_as_well_as_others(function, dtype, scale):
    X = well_conditioned(0, 64, dtype, (2,))
    assert_same_to_rounding(function(X * scale), function(X))


@all_functions
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_subnormal_entries_are_scaled_up_exactly(function, dtype):
    # Multiples of the smallest positive number, so that nothing is lost in forming them.
    X = torch.tensor([[3.0, 1.0, 0.0, -2.0], [0.0, 5.0, 1.0, 4.0]], dtype=dtype)
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    assert torch.equal(function(X * smallest), function(X))


@all_functions
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_entries_near_the_largest_float_give_finite_results(function, dtype):
    X = torch.full((3, 12, 20), torch.finfo(dtype).max, dtype=dtype)
    X[1] *= well_conditioned(0, 12, dtype).clamp(-1, 1)
    X[2] *= well_conditioned(0, 12, dtype).sign()
    result = function(X)
    assert result.isfinite().all()
    assert (result.double().square().sum((-2, -1)) > 0.1).all()


@all_functions
@pytest.mark.parametrize("dtype", list(ROUNDING))
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_entry_makes_its_matrix_non_finite_and_no_other(function, dtype, bad):
    clean = well_conditioned(0, 5, dtype, (3,))
    X = clean.clone()
    X[1, 2, 3] = bad
    result = function(X)
    assert not result[1].isfinite().any()
    assert torch.equal(result[::2], function(clean)[::2])


@all_functions
@given(seed=seeds, m=sizes, dtype=dtypes)
@few_examples
def test_memory_layout_does_not_matter(function, seed, m, dtype):
    X = well_conditioned(seed, 2 * m, dtype, (3,))
    row_major, every_other = function(X), function(X[:, ::2, 1:].clone())
    assert_same_to_rounding(function(X.mT.contiguous().mT), row_major)
    assert_same_to_rounding(function(X.permute(1, 2, 0).contiguous().permute(2, 0, 1)), row_major)
    assert_same_to_rounding(function(X[:, ::2, 1:]), every_other)
    assert_same_to_rounding(function(X[0].expand(2, 2, -1, -1)), row_major[0].expand(2, 2, -1, -1))


@all_functions
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_kernels_of_convolutions_in_channels_last_layout_are_what_they_are_in_rows(function, dtype):
    for kernel, layout in (((3, 3), torch.channels_last), ((2, 3, 3), torch.channels_last_3d)):
        X = torch.randn(16, 8, *kernel, generator=torch.Generator().manual_seed(0)).to(dtype)
        last = X.to(memory_format=layout)
        assert last.stride() != X.stride()
        for one, other in ((last, X), (last.flatten(1), X.flatten(1)), (last.mT, X.mT)):
            assert_same_to_rounding(function(one), function(other))
            assert_same_to_rounding(function([one, one])[1], function(other))


@all_functions
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_without_data_there_are_shapes_and_types(function, dtype):
    for shape in ((1, 1), (4, 6), (6, 4), (700, 900), (0, 5), (2, 3, 4, 4), (2, 0, 3)):
        X = torch.empty(shape, dtype=dtype, device="meta")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            results = [function(X), *function([X, X])]
        for result in results:
            assert (result.shape, result.dtype, result.device) == (X.shape, dtype, X.device)


@all_functions
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (4, 4), (3, 5), (5, 3), (2, 3, 5), (1, 5, 3)])
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_the_input_is_neither_modified_nor_shared(function, shape, dtype):
    # With a norm, an absolute row sum and a largest entry of 1, a normalisation could return its argument.
    X = torch.zeros(shape, dtype=dtype)
    X[..., 0, 0] = 1
    before = X.clone()
    alone, (in_list, other) = function(X), function([X, X])
    assert torch.equal(X, before)
    for result in (alone, in_list, other):
        assert result.untyped_storage().data_ptr() != X.untyped_storage().data_ptr()
        result.zero_()
    assert torch.equal(X, before)


@all_functions
def test_the_results_of_a_list_do_not_overlap(function):
    X = well_conditioned(0, 3)
    first, second = function([X, X])
    expected = second.clone()
    first.zero_()
    assert torch.equal(second, expected)


@all_functions
def test_no_gradient_is_recorded(function):
    X = torch.nn.Parameter(well_conditioned(0, 3))
    for result in (function(X), *function([X, X])):
        assert not result.requires_grad


@all_functions
def test_autocast_does_not_lower_the_precision(function):
    X = well_conditioned(0, 6)
    expected = function(X)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(function(X), expected)


@all_functions
def test_a_vector_or_a_scalar_is_refused(function):
    for X in (torch.ones(3), torch.tensor(1.0)):
        with pytest.raises(ValueError, match=r"at least 2 dimensions.*got shape \((3,)?\).*reshape"):
            function(X)
    with pytest.raises(ValueError, match=r"^matrices\[1\] must have at least 2 dimensions.*got shape \(3,\)"):
        function([torch.ones(3, 3), torch.ones(3)])


@all_functions
@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, torch.bool, torch.complex64])
def test_another_dtype_is_refused(function, dtype):
    message = rf"must have dtype float32, bfloat16, float64, got {dtype}; convert it with \.to\(torch\.float32\)"
    with pytest.raises(TypeError, match=rf"^matrices {message}"):
        function(torch.ones(3, 3, dtype=dtype))
    with pytest.raises(TypeError, match=rf"^matrices\[1\] {message}"):
        function([torch.ones(3, 3), torch.ones(3, 3, dtype=dtype)])


@all_functions
def test_something_else_than_a_tensor_is_refused(function):
    for X, name in ((None, "NoneType"), ("muon", "str"), (torch.ones(3, 3).numpy(), "ndarray")):
        with pytest.raises(TypeError, match=rf"^matrices must be a torch\.Tensor.*got {name}; .*torch\.as_tensor"):
            function(X)
    with pytest.raises(TypeError, match=r"^matrices\[1\] must be a torch\.Tensor.*got list; .*torch\.as_tensor"):
        function([torch.ones(3, 3), [[1.0]]])
