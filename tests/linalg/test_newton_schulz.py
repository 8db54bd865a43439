"""The Newton-Schulz recipes against their formulas."""

import re

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from orthobench.linalg import RECIPES, Recipe, newton_schulz, polar_factor

# As published; written again here, so that a typing error in the package cannot hide.
JORDAN = (3.4445, -4.7750, 2.0315)
DISTINCT = [
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
]
PUBLISHED = {
    "muon": ("frobenius", [JORDAN] * 5),
    "airbench": ("frobenius", [JORDAN] * 3),
    "muon_plus": ("frobenius", DISTINCT),
    "turbo_muon": ("aol", DISTINCT[1:]),
}
SHAPES = [(1, 1), (1, 9), (9, 1), (12, 12), (12, 20), (20, 12), (3, 12, 20), (3, 20, 12), (2, 2, 5, 5)]


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain_loop(X, normalisation, triples):
    """One matrix in float64, by the formulas."""
    if X.shape[0] > X.shape[1]:
        return plain_loop(X.T, normalisation, triples).T
    X = torch.diag((X @ X.T).abs().sum(1) ** -0.5) @ X if normalisation == "aol" else X / (X**2).sum().sqrt()
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
    assert (newton_schulz(X, name).double() - expected).norm() <= 0.02 * expected.norm()


@pytest.mark.parametrize("name", PUBLISHED)
def test_fewer_steps_are_the_first_ones(name):
    X = gaussian(6, 9)
    normalisation, triples = PUBLISHED[name]
    for steps in range(1, len(triples) + 1):
        expected = plain_loop(X, normalisation, triples[:steps])
        torch.testing.assert_close(newton_schulz(X, name, steps=steps), expected)
        torch.testing.assert_close(newton_schulz(X, name, steps=np.int64(steps)), expected)
    assert torch.equal(newton_schulz(X, name, steps=len(triples)), newton_schulz(X, name))


def test_a_recipe_that_repeats_one_triple_runs_for_any_number_of_steps():
    X = gaussian(6, 9)
    for name in ("muon", "airbench"):
        torch.testing.assert_close(newton_schulz(X, name, steps=8), plain_loop(X, "frobenius", [JORDAN] * 8))


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


@pytest.mark.parametrize("shape", [(40, 60), (200, 64)])
@pytest.mark.parametrize("nesterov", [True, False])
def test_one_step_of_torch_muon_is_ours(shape, nesterov):
    parameter = torch.nn.Parameter(torch.zeros(shape))
    parameter.grad = gaussian(*shape, dtype=torch.float32)
    torch.optim.Muon([parameter], lr=1.0, weight_decay=0.0, nesterov=nesterov).step()
    # After one step the momentum is a multiple of the gradient, with and without nesterov.
    ours = -(max(1, shape[0] / shape[1]) ** 0.5) * newton_schulz(parameter.grad.bfloat16()).float()
    assert (parameter.data - ours).norm() <= 0.03 * ours.norm()


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
def test_each_step_costs_three_products(name, shape, m, n, batch):
    X = gaussian(*shape)
    with FlopCounterMode(display=False) as counter:
        newton_schulz(X, name)
    # The Gram matrix of the rescaling is that of Turbo-Muon's first step.
    assert counter.get_total_flops() == batch * len(PUBLISHED[name][1]) * (4 * m**2 * n + 2 * m**3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_compiles_into_one_graph(name):
    X = gaussian(3, 8, 12, dtype=torch.float32)
    compiled = torch.compile(lambda X: newton_schulz(X, name), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(X), newton_schulz(X, name))


@pytest.mark.parametrize("steps", [0, -1, 2.0, "3", True])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_wrong_number_of_steps_is_refused(name, steps):
    allowed = {"muon_plus": "from 1 to 5", "turbo_muon": "from 1 to 4"}.get(name, ">= 1")
    published = len(PUBLISHED[name][1])
    remedy = f"leave it at None for the {published} published steps"
    with pytest.raises(ValueError, match=f"must be an integer {allowed} for recipe '{name}', got {steps!r}; {remedy}"):
        newton_schulz(gaussian(3, 3), name, steps=steps)


@pytest.mark.parametrize(("name", "length"), [("muon_plus", 5), ("turbo_muon", 4)])
def test_more_steps_than_distinct_triples_are_refused(name, length):
    with pytest.raises(ValueError, match=f"from 1 to {length} for recipe '{name}', got {length + 1}"):
        newton_schulz(gaussian(3, 3), name, steps=length + 1)


@pytest.mark.parametrize("recipe", ["Muon", "", None, 5, ["muon"]])
def test_an_unknown_recipe_is_refused(recipe):
    message = f"one of 'muon', 'airbench', 'muon_plus', 'turbo_muon' or a Recipe, got {recipe!r}; build"
    with pytest.raises(ValueError, match=re.escape(message)):
        newton_schulz(gaussian(3, 3), recipe)


def test_a_malformed_recipe_is_refused():
    for coefficients in ((), ((1.5, -0.5),)):
        with pytest.raises(ValueError, match=r"'bad' must be one or more triples \(a, b, c\), got .*give one"):
            Recipe("bad", "Bad", coefficients, None, "")
    with pytest.raises(ValueError, match=r"must be one of \(None, 'aol'\), got 'schatten'; use None"):
        Recipe("bad", "Bad", (JORDAN,), "schatten", "")


def test_the_published_recipes_are_listed_under_their_names_and_read_only():
    assert list(RECIPES) == list(PUBLISHED)
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.title
        assert recipe.source
    with pytest.raises(TypeError):
        RECIPES["muon"] = RECIPES["airbench"]
