"""The Newton-Schulz recipes against their formulas."""

import re

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from orthobench.data.spectra import gaussian as gaussian_matrices
from orthobench.data.spectra import with_spectrum
from orthobench.linalg import (
    ORTHOGONALISERS,
    RECIPES,
    Recipe,
    newton_schulz,
    orthogonalise,
    polar_express_coefficients,
    polar_factor,
    scaling,
)

# As published; written again here, so that a typing error in the package cannot hide.
JORDAN = (3.4445, -4.7750, 2.0315)
DISTINCT = [
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
]
CLASSIC = (2, -1.5, 0.5)
POLAR_EXPRESS = [
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
]
CANS = [
    (8.4703, -25.1081, 18.6293),
    (4.1828, -3.1087, 0.5806),
    (3.9619, -2.9541, 0.5630),
    (3.2866, -2.4647, 0.5074),
    (2.2737, -1.6447, 0.4162),
]
CUBIC = [
    (3.3656576, -3.3420992, 0),
    (2.5744352, -1.4957376, 0),
    (2.5368962, -1.4312570, 0),
    (2.4418906, -1.2764040, 0),
    (2.2230472, -0.9630650, 0),
]
V0 = [(4.6051, -9.6552, 5.6769), (4.7505, -6.0861, 2.1790), (2.7763, -2.3190, 0.5523), (2.4231, -2.2861, 0.8193)]
V1 = [(4.0098, -7.0585, 2.4635), (3.4585, -5.5479, 2.5959), (2.7573, -3.2939, 1.4254), (2.7215, -3.0494, 1.3169)]
# The safety factor of these is ours.
SAFE_CANS, SAFE_CUBIC = (
    [*((a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in triples[:-1]), triples[-1]] for triples in (CANS, CUBIC)
)
# Normalisation, triples, and what the norm is multiplied by.
PUBLISHED = {
    "muon": ("frobenius", [JORDAN] * 5, 1),
    "airbench": ("frobenius", [JORDAN] * 3, 1),
    "you5": ("frobenius", DISTINCT, 1),
    "turbo_muon": ("aol", DISTINCT[1:], 1),
    "turbo_muon_last": ("aol", DISTINCT[1:], 1),
    "turbo_muon_5": ("aol", DISTINCT, 1),
    "turbo_muon_v0": ("aol", V0, 1),
    "turbo_muon_v1": ("aol", V1, 1),
    "classic": ("frobenius", [CLASSIC] * 12, 1),
    "polar_express": ("frobenius", POLAR_EXPRESS, 1.02),
    "polar_express_8": ("frobenius", polar_express_coefficients(1e-3, 8, 0.01, 0.02), 1.01),
    "cans": ("frobenius", SAFE_CANS, 1.01),
    "cubic5": ("frobenius", SAFE_CUBIC, 1.01),
    "deepseek_v4": ("frobenius", [JORDAN] * 8 + [CLASSIC] * 2, 1),
}
REPEATED = ("muon", "airbench", "classic")
SHAPES = [(1, 1), (1, 9), (9, 1), (12, 12), (12, 20), (20, 12), (3, 12, 20), (3, 20, 12), (2, 2, 5, 5)]


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain_loop(X, normalisation, triples, margin=1):
    """One matrix in float64, by the formulas."""
    if X.shape[0] > X.shape[1]:
        return plain_loop(X.T, normalisation, triples, margin).T
    X = torch.diag((X @ X.T).abs().sum(1) ** -0.5) @ X if normalisation == "aol" else X / (X**2).sum().sqrt()
    X = X / margin
    for a, b, c in triples:
        X = a * X + b * X @ X.T @ X + c * X @ X.T @ X @ X.T @ X
    return X


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_recipe_follows_its_formula(name, shape):
    X = gaussian(*shape)
    expected = torch.stack([plain_loop(x, *PUBLISHED[name]) for x in X.reshape(-1, *shape[-2:])]).reshape(shape)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        result = newton_schulz(X.to(dtype), name).double()
        assert (result - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_recipe_follows_its_formula_in_bfloat16(name):
    X = gaussian(4, 32, 64, dtype=torch.bfloat16)
    expected = torch.stack([plain_loop(x.double(), *PUBLISHED[name]) for x in X])
    assert (newton_schulz(X, name).double() - expected).norm() <= 0.03 * expected.norm()


@pytest.mark.parametrize("name", PUBLISHED)
def test_fewer_steps_are_the_first_ones_or_the_last(name):
    X = gaussian(6, 9)
    normalisation, triples, margin = PUBLISHED[name]
    for steps in range(1, len(triples) + 1):
        kept = triples[-steps:] if name == "turbo_muon_last" else triples[:steps]
        expected = plain_loop(X, normalisation, kept, margin)
        torch.testing.assert_close(newton_schulz(X, name, steps=steps), expected)
        torch.testing.assert_close(newton_schulz(X, name, steps=np.int64(steps)), expected)
    assert torch.equal(newton_schulz(X, name, steps=len(triples)), newton_schulz(X, name))


def test_a_recipe_that_repeats_one_triple_runs_for_any_number_of_steps():
    X = gaussian(6, 9)
    for name in REPEATED:
        normalisation, triples, _ = PUBLISHED[name]
        expected = plain_loop(X, normalisation, triples[:1] * 14)
        torch.testing.assert_close(newton_schulz(X, name, steps=14), expected)


def test_a_recipe_of_your_own_can_be_given():
    cubic = Recipe("cubic", "Cubic Newton-Schulz", ((1.5, -0.5, 0.0),), None, "Björck & Bowie (1971)")
    X = gaussian(6, 9)
    torch.testing.assert_close(newton_schulz(X, cubic, steps=40), polar_factor(X))


def test_five_muon_steps_map_the_unit_interval_into_the_known_band():
    s = torch.linspace(0.01, 1, 20_001, dtype=torch.float64)
    # A 2 x 2 diagonal matrix of Frobenius norm 1, so that the normalisation leaves s as it is.
    X = torch.zeros(len(s), 2, 2, dtype=torch.float64)
    X[:, 0, 0], X[:, 1, 1] = s, (1 - s**2).clamp(min=0).sqrt()
    mapped = newton_schulz(X, "muon")[:, 0, 0]
    assert round(float(mapped.min()), 3) == 0.682
    assert round(float(mapped.max()), 3) == 1.134


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_scalar_map_is_what_singular_values_undergo(name):
    recipe = RECIPES[name]
    s = torch.linspace(0, 1, 101, dtype=torch.float64)
    if recipe.preconditioner is None:
        X = torch.zeros(len(s), 2, 2, dtype=torch.float64)
        X[:, 0, 0], X[:, 1, 1] = s, (1 - s**2).clamp(min=0).sqrt()
        for steps in (1, 3, None):
            expected = newton_schulz(X, recipe, steps)[:, 0, 0]
            torch.testing.assert_close(recipe.scalar_map(s, steps), expected, atol=1e-9, rtol=0)
    assert recipe.scalar_map([[0.0, 0.5]]).shape == (1, 2)
    assert recipe.scalar_map(0.5).dtype == torch.float64
    assert recipe.scalar_map(0) == 0


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("steps", [1, 2, None])
def test_the_scalar_maximum_is_that_of_the_map_on_a_fine_grid(name, steps):
    # Maxima sit at tiny singular values too.
    s = torch.cat([torch.linspace(0, 1, 200_001, dtype=torch.float64), torch.logspace(-9, 0, 200_001).double()])
    on_grid = float(RECIPES[name].scalar_map(s.clamp(max=1), steps).max())
    assert on_grid <= RECIPES[name].scalar_maximum(steps) + 1e-12
    assert RECIPES[name].scalar_maximum(steps) <= on_grid + 1e-4


def test_negative_values_of_a_polynomial_count_for_the_scalar_maximum_of_the_next():
    recipe = Recipe("negative", "Negative", ((1.0, -4.0, 0.0), (1.0, -1.0, 0.0)), None, "test")
    # The first maps [0, 1] onto [-3, 0.19...], the second -3 to 24.
    assert recipe.scalar_maximum() == pytest.approx(24)


def in_scalars(recipe, s, steps):
    """What becomes of singular values where each operation is rounded to their type, sums and products once."""
    wide = torch.promote_types(s.dtype, torch.float32)
    s = (s.double() / (1 + recipe.safety)).to(s.dtype)
    for a, b, c in recipe.polynomials(steps):
        A = (s.to(wide) ** 2).to(s.dtype).to(wide)
        s = (a * s.to(wide) + (b * A + c * A * A).to(s.dtype) * s.to(wide)).to(s.dtype)
    return s


def reversed_by(recipe, dtype):
    """The numbers of steps at which a singular value in [1e-4, 1.02] is turned around, and the least value of all."""
    s = torch.linspace(1e-4, 1.02, 100_000, dtype=torch.float64).to(dtype).unique()
    s = s[(s.double() >= 1e-4) & (s.double() <= 1.02)]
    least = {steps: float(in_scalars(recipe, s, steps).min()) for steps in range(1, len(recipe.coefficients) + 1)}
    return [steps for steps, value in least.items() if not value > 0], min(least.values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", PUBLISHED)
def test_orthogonalisers_keep_singular_values_positive_after_any_number_of_steps(name, dtype):
    found, least = reversed_by(RECIPES[name], dtype)
    assert (found == []) == (name != "turbo_muon_v1")
    assert (name in ORTHOGONALISERS) == (RECIPES[name].superseded_by is None)
    told = min(RECIPES[name].scalar_minimum(steps) for steps in range(1, len(RECIPES[name].coefficients) + 1))
    assert dtype != torch.float64 or told == pytest.approx(least, abs=1e-5)


def test_without_its_safety_factor_the_cubic_turns_singular_values_around():
    published = Recipe("cubic_published", "Cubic", tuple(CUBIC), None, "test")
    assert published.scalar_minimum() == pytest.approx(-1.3, abs=1e-4)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert reversed_by(published, dtype)[0]


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("has", [True, False])
def test_no_recipe_for_training_steps_uphill_for_gradients_of_low_rank(rank, has, has_bfloat16):
    has_bfloat16(has)
    generator = torch.Generator().manual_seed(1)
    gradients = [torch.ones(4, 8), torch.ones(1, 1)]
    for m, n in ((1, 8), (4, 8), (8, 4), (16, 16), (12, 50)):
        left, right = (torch.randn(100, *shape, generator=generator) for shape in ((m, rank), (rank, n)))
        gradients += [left @ right]
    for name in ORTHOGONALISERS[:-2]:  # without the factorisations
        for dtype in (torch.bfloat16, torch.float32):
            X = [each.to(dtype) for each in gradients]
            for G, Y in zip(X, orthogonalise(X, name), strict=True):
                slope = (G.double() * Y.double()).sum((-2, -1)) / torch.linalg.matrix_norm(G.double(), "nuc")
                assert slope.min() > 0.3, (name, dtype, tuple(G.shape))


# It has no safety factor, and its polynomials grow fast beyond their intervals: of a relative error of 0.004 at each
# step they make 0.09.
BEYOND_THE_MAXIMUM = {"turbo_muon_v0": 0.12}


@pytest.mark.parametrize("kind", ["gaussian", "log_uniform", "power_law", "levy", "low_rank", "row_scaled"])
@pytest.mark.parametrize(("shape", "count"), [((256, 256), 1), ((128, 512), 2)])
def test_in_bfloat16_no_singular_value_ends_well_above_the_scalar_maximum(kind, shape, count, has_bfloat16):
    has_bfloat16(True)
    generator = torch.Generator().manual_seed(5)
    matrices = gaussian_matrices(shape, count, generator)
    if kind != "gaussian":
        matrices = with_spectrum(kind, shape, count, generator)
    X = torch.stack(matrices).bfloat16()
    for name, recipe in RECIPES.items():
        sigma_max = torch.linalg.svdvals(newton_schulz(X, recipe).float()).max()
        assert sigma_max <= recipe.scalar_maximum() + BEYOND_THE_MAXIMUM.get(name, 0.02), name


def test_without_its_safety_factor_cans_explodes_in_bfloat16(has_bfloat16):
    has_bfloat16(True)
    X = torch.stack(with_spectrum("levy", (128, 512), 8, torch.Generator().manual_seed(5))).bfloat16()
    published = Recipe("cans_published", "CANS", tuple(CANS), None, "test")
    assert torch.linalg.svdvals(newton_schulz(X, published).float()).max() > 2


@pytest.mark.parametrize("shape", [(16, 90), (60, 40), (5, 24, 24)])
@pytest.mark.parametrize("name", PUBLISHED)
def test_without_instructions_for_bfloat16_products_are_in_float32(name, shape, has_bfloat16):
    X = gaussian(*shape, dtype=torch.float32).bfloat16()
    has_bfloat16(False)
    result = newton_schulz(X, name)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, newton_schulz(X.float(), name).bfloat16())
    has_bfloat16(True)
    assert not torch.equal(result, newton_schulz(X, name))


@pytest.mark.parametrize("shape", [(40, 60), (200, 64)])
@pytest.mark.parametrize("nesterov", [True, False])
def test_one_step_of_torch_muon_is_ours(shape, nesterov):
    parameter = torch.nn.Parameter(torch.zeros(shape))
    parameter.grad = gaussian(*shape, dtype=torch.float32)
    torch.optim.Muon([parameter], lr=1.0, weight_decay=0.0, nesterov=nesterov).step()
    # After one step the momentum is a multiple of the gradient, with and without nesterov.
    ours = -(max(1, shape[0] / shape[1]) ** 0.5) * newton_schulz(parameter.grad.bfloat16()).float()
    assert (parameter.data - ours).norm() <= 0.03 * ours.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("normalise", [scaling.frobenius_normalise, lambda X: torch.cat(scaling.aol_normalise(X), -1)])
@pytest.mark.parametrize("exponent", [-140, -70, -41, -39, 0, 1, 39, 41, 70, 120])
def test_without_division_by_a_power_of_two_a_moderate_matrix_is_normalised_to_the_same_bits(
    exponent, normalise, dtype, monkeypatch
):
    for spread in (1.0, 8.0):  # of the entries, in powers of ten
        X = torch.randn(2, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        X = (X.sign() * X.abs() ** spread * 2.0**exponent).to(dtype)
        monkeypatch.setattr(scaling, "can_look", lambda X: False)
        expected = normalise(X)
        monkeypatch.undo()
        # Of the largest, an entry may be infinite, and the result NaN.
        torch.testing.assert_close(normalise(X), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["turbo_muon", "muon"])
def test_it_takes_what_has_no_values(name):
    with FakeTensorMode():
        assert orthogonalise(torch.empty(2, 7, 9), name).shape == (2, 7, 9)
    X = gaussian(2, 7, 9, dtype=torch.float32)
    traced = make_fx(lambda X: orthogonalise(X, name))(X)
    assert torch.equal(traced(X), orthogonalise(X, name))


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_gives_zero_alone_and_in_a_batch(name, dtype):
    X = gaussian(3, 4, 6, dtype=dtype)
    X[1] = 0
    X[2, 1] = 0
    result = newton_schulz(X, name)
    assert result.isfinite().all()
    assert not result[1].any()
    assert not result[2, 1].any()
    assert result[0].any()
    assert not newton_schulz(torch.zeros(6, 4, dtype=dtype), name).any()


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(
    ("shape", "m", "n", "batch"), [((24, 40), 24, 40, 1), ((40, 24), 24, 40, 1), ((3, 8, 8), 8, 8, 3)]
)
def test_each_step_costs_three_products_or_two_without_a_fifth_power(name, shape, m, n, batch):
    X = gaussian(*shape)
    with FlopCounterMode(display=False) as counter:
        newton_schulz(X, name, method="plain")
    # The Gram matrix of the rescaling is that of Turbo-Muon's first step.
    square = 0 if name == "cubic5" else 2 * m**3
    assert counter.get_total_flops() == batch * len(PUBLISHED[name][1]) * (4 * m**2 * n + square)


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_compiles_into_one_graph(name):
    torch._dynamo.reset()
    X = gaussian(3, 8, 12, dtype=torch.float32)
    compiled = torch.compile(lambda X: newton_schulz(X, name), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(X), newton_schulz(X, name))


@pytest.mark.parametrize("steps", [0, -1, 2.0, "3", True])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_wrong_number_of_steps_is_refused(name, steps):
    published = len(PUBLISHED[name][1])
    allowed = ">= 1" if name in REPEATED else f"from 1 to {published}"
    remedy = f"leave it at None for the {published} published steps"
    with pytest.raises(ValueError, match=f"must be an integer {allowed} for recipe '{name}', got {steps!r}; {remedy}"):
        newton_schulz(gaussian(3, 3), name, steps=steps)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in REPEATED])
def test_more_steps_than_distinct_triples_are_refused(name):
    length = len(PUBLISHED[name][1])
    with pytest.raises(ValueError, match=f"from 1 to {length} for recipe '{name}', got {length + 1}"):
        newton_schulz(gaussian(3, 3), name, steps=length + 1)


@pytest.mark.parametrize("recipe", ["Muon", "", None, 5, ["muon"]])
def test_an_unknown_recipe_is_refused(recipe):
    message = f"one of {', '.join(map(repr, PUBLISHED))} or a Recipe, got {recipe!r}; build"
    with pytest.raises(ValueError, match=re.escape(message)):
        newton_schulz(gaussian(3, 3), recipe)


def test_a_malformed_recipe_is_refused():
    for coefficients in ((), ((1.5, -0.5),)):
        with pytest.raises(ValueError, match=r"'bad' must be one or more triples \(a, b, c\), got .*give one"):
            Recipe("bad", "Bad", coefficients, None, "")
    with pytest.raises(ValueError, match=r"must be one of \(None, 'aol'\), got 'schatten'; use None"):
        Recipe("bad", "Bad", (JORDAN,), "schatten", "")
    for safety in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"safety of recipe 'bad' must be a finite number >= 0, got {safety}"):
            Recipe("bad", "Bad", (JORDAN,), None, "", safety=safety)
    with pytest.raises(ValueError, match=r"keeps of recipe 'bad' must be one of \('first', 'last'\), got 'middle'"):
        Recipe("bad", "Bad", (JORDAN,), None, "", keeps="middle")


def test_the_published_recipes_are_listed_under_their_names_and_read_only():
    assert list(RECIPES) == list(PUBLISHED)
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.title
        assert recipe.source
    assert RECIPES["muon_plus"] is RECIPES["you5"]
    assert torch.equal(newton_schulz(gaussian(3, 4), "muon_plus"), newton_schulz(gaussian(3, 4), "you5"))
    superseded = {name: recipe.superseded_by for name, recipe in RECIPES.items() if recipe.superseded_by}
    assert superseded == {"turbo_muon_v0": "turbo_muon", "turbo_muon_v1": "turbo_muon"}
    with pytest.raises(TypeError):
        RECIPES["muon"] = RECIPES["airbench"]
