"""One function for every orthogonaliser: it is the function that the name says."""

import pytest
import torch

from orthobench.linalg import ORTHOGONALISERS, RECIPES, newton_schulz, orthogonalise, polar_factor, qr_factor

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def mixed(dtype=torch.float64):
    return [gaussian(6, 4, dtype=dtype), gaussian(2, 4, 6, seed=1, dtype=dtype), gaussian(5, 5, seed=2, dtype=dtype)]


def test_the_names_are_the_recipes_that_are_not_superseded_and_the_two_factorisations():
    listed = [name for name in RECIPES if name not in ("turbo_muon_v0", "turbo_muon_v1")]
    assert (*listed, "svd", "qr") == ORTHOGONALISERS


@pytest.mark.parametrize("name", ["turbo_muon_v0", "turbo_muon_v1"])
def test_superseded_coefficients_are_refused_and_their_successor_named(name):
    with pytest.raises(ValueError, match=f"got '{name}', which 'turbo_muon' has replaced; use newton_schulz"):
        orthogonalise(gaussian(3, 4), name)


def test_an_earlier_name_is_an_alias():
    X = gaussian(3, 4)
    assert torch.equal(orthogonalise(X, "muon_plus", 2), orthogonalise(X, "you5", 2))
    with pytest.raises(ValueError, match="from 1 to 5 for recipe 'you5', got 6"):
        orthogonalise(X, "muon_plus", 6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ORTHOGONALISERS)
def test_each_name_is_its_function(name, dtype):
    function = {"svd": polar_factor, "qr": qr_factor}.get(name) or (lambda X: newton_schulz(X, name))
    matrices = mixed(dtype)
    results = orthogonalise(matrices, name)
    assert isinstance(results, list)
    for result, X, expected in zip(results, matrices, function(matrices), strict=True):
        assert torch.equal(result, expected)
        assert torch.equal(orthogonalise(X, name), function(X))


def test_turbo_muon_is_the_default():
    X = gaussian(4, 6)
    assert torch.equal(orthogonalise(X), newton_schulz(X, "turbo_muon"))


@pytest.mark.parametrize(("name", "steps"), [("muon", 2), ("muon", 9), ("turbo_muon", 3), ("cans", 1)])
def test_steps_are_those_of_the_recipe(name, steps):
    X = gaussian(4, 6)
    assert torch.equal(orthogonalise(X, name, steps), newton_schulz(X, name, steps))
    assert not torch.equal(orthogonalise(X, name, steps), orthogonalise(X, name))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ORTHOGONALISERS)
def test_the_zero_matrix_gives_zero_and_its_neighbours_are_as_they_were(name, dtype):
    X = gaussian(3, 6, 4, dtype=dtype)
    X[1] = 0
    for matrices, shape in ((X, (6, 4)), (X.mT, (4, 6)), (X[:, :4], (4, 4))):
        result = orthogonalise(matrices, name)
        assert torch.equal(result[1], torch.zeros(shape, dtype=dtype))
        assert torch.equal(result[::2], orthogonalise(matrices[::2], name))
        assert result[0].any()


@pytest.mark.parametrize("name", ORTHOGONALISERS)
def test_a_non_finite_entry_stays_in_its_matrix(name):
    X = gaussian(2, 4, 6)
    clean = orthogonalise(X[1], name)
    X[0, 1, 2] = float("nan")
    result = orthogonalise(X, name)
    assert not result[0].isfinite().any()
    torch.testing.assert_close(result[1], clean)


@pytest.mark.parametrize("name", ["Muon", "torch", None, 3, ("svd",), ["svd"]])
def test_an_unknown_name_is_refused_and_all_names_are_listed(name):
    with pytest.raises(ValueError, match=r"orthogonaliser must be one of 'muon', .*, 'svd', 'qr', got .*newton_schulz"):
        orthogonalise(gaussian(3, 4), name)


@pytest.mark.parametrize("name", ["svd", "qr"])
def test_steps_of_a_factorisation_are_refused(name):
    with pytest.raises(ValueError, match=rf"steps must be None with orthogonaliser='{name}', got 5.*leave it out"):
        orthogonalise(gaussian(3, 4), name, 5)


@pytest.mark.parametrize("steps", [0, -1, 2.0, True, 5])
def test_steps_beyond_those_of_the_recipe_are_refused(steps):
    with pytest.raises(ValueError, match=r"steps must be an integer from 1 to 4 for recipe 'turbo_muon', got"):
        orthogonalise(gaussian(3, 4), "turbo_muon", steps)
