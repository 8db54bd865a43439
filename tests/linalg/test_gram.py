"""The Gram form of the iterations: the result of the plain one, at the cost that is announced."""

import re
from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import orthobench.linalg.gram
from orthobench.data.spectra import gaussian as gaussian_matrices
from orthobench.data.spectra import with_spectrum
from orthobench.linalg import RECIPES, newton_schulz, newton_schulz_flops, polar_factor
from orthobench.linalg.gram import segments

SHAPES = [(1, 1), (1, 9), (9, 1), (12, 12), (12, 40), (40, 12), (3, 12, 40), (3, 40, 12), (2, 2, 5, 5)]
KINDS = ("gaussian", "log_uniform", "power_law", "levy", "low_rank", "row_scaled")

all_recipes = pytest.mark.parametrize("recipe", RECIPES)


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def matrices_of(kind, shape, count):
    make = gaussian_matrices if kind == "gaussian" else partial(with_spectrum, kind)
    return torch.stack(make(shape, count, torch.Generator().manual_seed(3)))


def relative_error(actual, expected):
    difference = actual.double() - expected.double()
    return (difference.norm(dim=(-2, -1)) / expected.double().norm(dim=(-2, -1))).amax()


@all_recipes
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gram_form_gives_the_result_of_the_plain_one(recipe, shape):
    X = gaussian(*shape)
    plain = newton_schulz(X, recipe, method="plain")
    assert relative_error(newton_schulz(X, recipe, method="gram"), plain) <= 1e-11
    assert relative_error(newton_schulz(X.float(), recipe, method="gram"), plain) <= 1e-4


@all_recipes
def test_so_it_does_for_fewer_steps(recipe):
    X = gaussian(12, 40)
    for steps in range(1, len(RECIPES[recipe].coefficients) + 1):
        plain = newton_schulz(X, recipe, steps, "plain")
        assert relative_error(newton_schulz(X, recipe, steps, "gram"), plain) <= 1e-11


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(64, 256), (96, 96)])
def test_so_it_does_for_hard_spectra(kind, shape):
    X = matrices_of(kind, shape, 2)
    for recipe in RECIPES:
        plain = newton_schulz(X.double(), recipe, method="plain")
        assert relative_error(newton_schulz(X.double(), recipe, method="gram"), plain) <= 1e-11, recipe
        assert relative_error(newton_schulz(X, recipe, method="gram"), plain) <= 1e-4, recipe


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_it_is_as_near_to_the_polar_factor_as_the_plain_form(kind):
    X = matrices_of(kind, (128, 512), 2).bfloat16()
    polar = polar_factor(X.double())
    for recipe in RECIPES:
        plain = relative_error(newton_schulz(X, recipe, method="plain"), polar)
        gram = newton_schulz(X, recipe, method="gram")
        assert gram.dtype == torch.bfloat16
        assert relative_error(gram, polar) <= 1.02 * plain + 0.001, recipe


@pytest.mark.parametrize(
    ("recipe", "lengths"),
    [
        ("muon", [3, 2]),
        ("you5", [3, 2]),
        ("turbo_muon", [3, 1]),
        ("classic", [6, 6]),
        ("polar_express", [2, 2, 1]),
        ("polar_express_8", [2, 2, 4]),
        ("deepseek_v4", [3, 3, 4]),
    ],
)
def test_it_restarts_before_small_singular_values_have_grown_too_much(recipe, lengths):
    polynomials = RECIPES[recipe].coefficients
    divided = segments(polynomials, 1.0)
    assert [len(segment) for segment in divided] == lengths
    assert [triple for segment in divided for triple in segment] == list(polynomials)


def test_without_restarts_it_would_not_be_accurate(monkeypatch):
    X = matrices_of("log_uniform", (64, 256), 2)
    plain = newton_schulz(X, "polar_express_8", method="plain")
    assert relative_error(newton_schulz(X, "polar_express_8", method="gram"), plain) <= 1e-4
    monkeypatch.setattr(orthobench.linalg.gram, "LARGEST_GROWTH", float("inf"))
    assert relative_error(newton_schulz(X, "polar_express_8", method="gram"), plain) >= 1e-3


@all_recipes
@pytest.mark.parametrize("method", ["auto", "plain", "gram"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(24, 40), (3, 200, 16), (2, 2, 9, 1)])
def test_the_operations_announced_are_those_done(recipe, method, dtype, shape):
    X = gaussian(*shape, dtype=dtype)
    for steps in (2, None):
        with FlopCounterMode(display=False) as counter:
            newton_schulz(X, recipe, steps, method)
        assert counter.get_total_flops() == newton_schulz_flops(X, recipe, steps, method)


def test_operations_are_counted_for_lists_and_without_data():
    tensors = [gaussian(6, 9), gaussian(9, 6), gaussian(2, 4, 4), torch.empty(0, 3)]
    with FlopCounterMode(display=False) as counter:
        newton_schulz(tensors)
    assert newton_schulz_flops(tensors) == counter.get_total_flops()
    assert newton_schulz_flops([]) == 0
    m, n = 512, 2048
    X = torch.empty(m, n, device="meta")
    assert newton_schulz_flops(X, "muon", method="plain") == 20 * m**2 * n + 10 * m**3
    # Two segments, of three and two steps.
    assert newton_schulz_flops(X, "muon", method="gram") == 8 * m**2 * n + 28 * m**3
    assert newton_schulz_flops(X, "cubic5", method="plain") == 20 * m**2 * n
    assert newton_schulz_flops(X, "muon") == newton_schulz_flops(X, "muon", method="gram")
    with pytest.raises(TypeError, match="must be a torch"):
        newton_schulz_flops((512, 2048))


@all_recipes
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_auto_takes_the_gram_form_where_it_needs_clearly_fewer_operations(recipe, dtype):
    chosen = []
    for n in (8, 12, 16, 24, 32, 64, 256):
        X = gaussian(n, 8, dtype=dtype)
        plain, gram, auto = (newton_schulz_flops(X, recipe, method=method) for method in ("plain", "gram", "auto"))
        chosen.append("gram" if gram < 0.85 * plain else "plain")
        assert auto == (gram if chosen[-1] == "gram" else plain)
        assert torch.equal(newton_schulz(X, recipe), newton_schulz(X, recipe, method=chosen[-1]))
    assert chosen[0] == "plain"
    assert chosen[-1] == "gram"
    assert chosen == sorted(chosen, reverse=True)


@all_recipes
def test_auto_never_takes_the_gram_form_in_bfloat16(recipe, has_bfloat16):
    has_bfloat16(True)
    X = gaussian(8, 800, dtype=torch.bfloat16)
    assert torch.equal(newton_schulz(X, recipe), newton_schulz(X, recipe, method="plain"))


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_auto_does_not_take_the_gram_form_if_float32_products_are_less_precise(precision):
    def is_gram(dtype):
        X = torch.empty(8, 800, dtype=dtype)
        return newton_schulz_flops(X, "muon") < newton_schulz_flops(X, "muon", method="plain")

    assert is_gram(torch.float32)
    torch.set_float32_matmul_precision(precision)
    try:
        assert not is_gram(torch.float32)
        assert is_gram(torch.float64)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert is_gram(torch.float32)


@pytest.mark.parametrize("method", ["gram", "auto"])
@pytest.mark.parametrize("recipe", ["muon", "turbo_muon", "cubic5"])
def test_it_compiles_into_one_graph(recipe, method):
    torch._dynamo.reset()
    X = gaussian(3, 8, 40, dtype=torch.float32)
    compiled = torch.compile(lambda X: newton_schulz(X, recipe, method=method), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(X), newton_schulz(X, recipe, method=method))


@pytest.mark.parametrize("method", ["Gram", "", None, 1, ["gram"]])
def test_an_unknown_method_is_refused(method):
    message = f"method must be one of 'auto', 'plain', 'gram', got {method!r}."
    for function in (newton_schulz, newton_schulz_flops):
        with pytest.raises(ValueError, match=re.escape(message)):
            function(gaussian(3, 3), method=method)
