"""All allocations are equally private; the optimal one has the least noise."""

import math

import pytest
import torch

from orthobench.privacy.allocation import ALLOCATIONS, noise_stds
from orthobench.privacy.release import Block, effective_multiplier

BOUNDS = {"a": 0.3, "b": 1.0, "c": 0.02}
SIZES = {"a": 4096, "b": 640, "c": 10}


def combined_multiplier(bounds, stds):
    return effective_multiplier([Block((name,), bound, stds[name]) for name, bound in bounds.items()])


def total_variance(stds, sizes=SIZES):
    return sum(sizes[name] * std**2 for name, std in stds.items())


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_every_allocation_is_as_private_as_one_mechanism(allocation, sigma):
    stds = noise_stds(BOUNDS, SIZES, sigma, allocation)
    assert sum((BOUNDS[name] / std) ** 2 for name, std in stds.items()) == pytest.approx(sigma**-2)
    assert combined_multiplier(BOUNDS, stds) == pytest.approx(sigma)


def test_the_formulas():
    length = math.sqrt(0.3**2 + 1 + 0.02**2)
    assert noise_stds(BOUNDS, SIZES, 2.0, "global") == pytest.approx(dict.fromkeys(BOUNDS, 2 * length))
    per_layer = noise_stds(BOUNDS, SIZES, 2.0, "per_layer")
    assert per_layer == pytest.approx({name: 2 * math.sqrt(3) * bound for name, bound in BOUNDS.items()})
    # With two layers, noise of sigma times each bound is one mechanism of sigma / sqrt(2).
    assert combined_multiplier({"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 6.0}) == pytest.approx(2 / math.sqrt(2))


def test_no_allocation_as_private_has_less_noise_than_the_optimal_one():
    least = total_variance(noise_stds(BOUNDS, SIZES, 2.0, "optimal"))
    assert least < 0.9 * min(total_variance(noise_stds(BOUNDS, SIZES, 2.0, each)) for each in ("global", "per_layer"))
    # An oracle: minimise over the shares of 1 / sigma^2, which add up to 1.
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([SIZES[name] * BOUNDS[name] ** 2 for name in BOUNDS], dtype=torch.float64)
    search = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure():
        search.zero_grad()
        loss = (4 * weights / logits.softmax(0)).sum().log()
        loss.backward()
        return loss

    search.step(closure)
    found = math.exp(float(closure().detach()))
    assert least == pytest.approx(found, rel=1e-6)


def test_gradients_that_are_always_zero_get_no_noise_of_their_own():
    bounds = {"a": 0.0, "b": 1.0}
    for allocation in ("per_layer", "optimal"):
        stds = noise_stds(bounds, {"a": 10, "b": 1000}, 3.0, allocation)
        assert stds["a"] == 0
        assert stds["b"] == pytest.approx(3)
        assert combined_multiplier(bounds, stds) == pytest.approx(3)
    assert combined_multiplier({"a": 0.0}, {"a": 0.0}) == math.inf
    with pytest.raises(ValueError, match="without noise is no privacy"):
        combined_multiplier({"a": 1.0}, {"a": 0.0})


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_noise_must_be_positive_and_finite(value):
    with pytest.raises(ValueError, match=r"noise_multiplier is .*: give a number > 0"):
        noise_stds(BOUNDS, SIZES, value)
    with pytest.raises(ValueError, match="the bound of a"):
        noise_stds({"a": value - 1}, SIZES, 1.0)


def test_an_unknown_allocation_is_refused():
    with pytest.raises(ValueError, match=r"'equal'.*per_layer"):
        noise_stds(BOUNDS, SIZES, 1.0, "equal")
