"""Lower bounds: never above the true constant, and close to it where that is known."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from orthobench.lipschitz.bounds import lower_bound, upper_bound
from orthobench.lipschitz.layers import MaxMin


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(seed=0, width=8, outputs=4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, 4, 3, padding=1), MaxMin(), nn.Flatten(), nn.Linear(64, width), nn.ReLU()
        return nn.Sequential(*layers, nn.Linear(width, outputs))


@pytest.mark.parametrize("outputs", [3, 100])
def test_the_constant_of_a_linear_map_is_found(outputs):
    """By the rows of the Jacobian for few outputs, by power iteration for many."""
    layer = nn.Linear(10, outputs).double()
    norm = torch.linalg.matrix_norm(layer.weight.detach(), 2).item()
    assert norm * (1 - 1e-3) <= lower_bound(layer, normal(4, 10), iterations=50) <= norm
    rows = layer.weight.detach().norm(dim=1)
    # Of 100 outputs 64 are differentiated: half of the rows are shorter than the median.
    least = rows.median() if outputs > 64 else rows.max() * (1 - 1e-6)
    assert least <= lower_bound(layer, normal(4, 10), per_output=True) <= rows.max()


def test_power_iteration_agrees_with_the_rows_of_the_jacobian(monkeypatch):
    from orthobench.lipschitz.bounds import lower

    model, inputs = network(), normal(8, 1, 4, 4)
    by_rows = lower_bound(model, inputs, iterations=30)
    monkeypatch.setattr(lower, "_ROWS", 1)
    assert lower_bound(model, inputs, iterations=30) == pytest.approx(by_rows, rel=0.05)


@pytest.mark.parametrize("per_output", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_never_above_the_upper_bound(seed, per_output):
    model, inputs = network(seed), normal(6, 1, 4, 4, seed=seed).float()
    assert 0 < lower_bound(model, inputs, per_output=per_output) <= upper_bound(model, (1, 4, 4)).total


def test_it_is_at_least_the_jacobians_at_the_inputs():
    model, inputs = network(2).double(), normal(8, 1, 4, 4)
    slopes, rows = [], []
    for point in inputs:
        jacobian = torch.func.jacrev(lambda x: model(x[None])[0])(point).flatten(1)
        slopes.append(torch.linalg.matrix_norm(jacobian, 2).item())
        rows.append(jacobian.norm(dim=1).max().item())
    assert lower_bound(model, inputs) >= max(slopes) * (1 - 1e-3)
    assert lower_bound(model, inputs, per_output=True) >= max(rows) * (1 - 1e-3)


def test_the_constant_of_one_output_is_not_above_that_of_all():
    model, inputs = network(1), normal(6, 1, 4, 4)
    assert lower_bound(model, inputs, per_output=True) <= lower_bound(model, inputs) * (1 + 1e-9)


def test_an_orthogonal_network_comes_close_to_one_and_not_above():
    layers = [parametrizations.orthogonal(nn.Linear(6, 6)) for _ in range(3)]
    model = nn.Sequential(layers[0], MaxMin(), layers[1], MaxMin(), layers[2])
    bound = lower_bound(model, normal(4, 6))
    assert 1 - 1e-5 <= bound <= 1 + 1e-5
    assert all(hasattr(layer, "parametrizations") for layer in layers)


class Kink(nn.Module):
    """Autograd's derivative at 0 is 2, where relu'(0) = 0; the slope is 1 everywhere."""

    def forward(self, x):
        return 2 * x - x.relu() + (-x).relu()


def test_a_derivative_at_a_kink_is_no_bound():
    point = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(Kink()(point).sum(), point)[0].item() == 2
    assert lower_bound(Kink(), torch.zeros(3, 1)) == pytest.approx(1, rel=1e-9)
    assert lower_bound(Kink(), torch.zeros(3, 1)) <= 1


def test_the_ascent_finds_slopes_that_the_inputs_dont_have():
    class Hinge(nn.Module):
        def forward(self, x):
            return 0.1 * x + 5 * (x - 1.5).relu()

    bound = lower_bound(Hinge(), torch.full((1, 1), 1.0), iterations=100)
    assert 2 < bound <= 5.1


def test_outputs_that_are_constant_give_zero():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    model[0].bias.data.fill_(-1e6)
    assert lower_bound(model, torch.zeros(2, 3)) == 0


def test_rounding_is_no_slope():
    """In float32, 1e4 + x moves in steps: quotients of close points are noise."""

    class Offset(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x.float() * self.weight.float() + 1e4

    assert lower_bound(Offset(), normal(4, 3).float(), iterations=5) <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_in_half_precision_are_searched_in_float64(dtype):
    model, inputs = network().to(dtype), normal(4, 1, 4, 4)
    exact = network().to(dtype).double()
    assert lower_bound(model, inputs) == pytest.approx(lower_bound(exact, inputs), rel=0.05)


def test_the_model_and_the_inputs_are_left_alone():
    model, inputs = network(), normal(2, 1, 4, 4).float()
    before = inputs.clone()
    lower_bound(model, inputs, iterations=2)
    assert model.training
    assert torch.equal(inputs, before)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_the_seed_decides_the_result():
    model, inputs = network(outputs=80), normal(3, 1, 4, 4)
    first, again, other = (lower_bound(model, inputs, iterations=2, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_a_function_that_is_no_module_is_searched_in_float64():
    matrix = normal(4, 4)
    norm = torch.linalg.matrix_norm(matrix, 2).item()
    assert lower_bound(lambda x: x @ matrix, torch.zeros(2, 4)) == pytest.approx(norm, rel=1e-3)


def test_errors_name_what_is_wrong():
    model = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="at least one example"):
        lower_bound(model, torch.zeros(0, 3))
    with pytest.raises(ValueError, match="inputs must be finite"):
        lower_bound(model, torch.full((1, 3), math.nan))
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        lower_bound(model, torch.zeros(1, 3), iterations=0)
    with pytest.raises(ValueError, match="don't depend on its inputs"):
        lower_bound(lambda x: torch.ones(len(x), 2), torch.zeros(1, 3))
