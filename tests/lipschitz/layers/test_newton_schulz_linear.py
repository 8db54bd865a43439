"""The dense layer by the suite's own orthogonaliser keeps its promise in training, and is an ordinary module."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from orthobench.linalg import polar_factor
from orthobench.lipschitz.layers import newton_schulz_linear
from orthobench.lipschitz.layers.newton_schulz_linear import NewtonSchulzLinear

SHAPES = ((32, 32), (48, 20), (20, 48), (1, 5), (5, 1), (100, 90))


def layer(in_features=32, out_features=32, seed=0, **options):
    torch.manual_seed(seed)
    return NewtonSchulzLinear(in_features, out_features, **options)


def train(model, steps, learning_rate=0.1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
    in_features = model.in_features if isinstance(model, nn.Linear) else model[0].in_features
    for _ in range(steps):
        inputs = torch.randn(64, in_features, generator=generator)
        outputs = model(inputs)
        loss = (outputs - torch.randn(outputs.shape, generator=generator)).square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def singular_values(module):
    return torch.linalg.svdvals(module.weight.detach().double())


@pytest.mark.parametrize(("in_features", "out_features"), SHAPES)
@pytest.mark.parametrize("steps", [0, 20])
def test_all_singular_values_are_1_before_and_after_training(in_features, out_features, steps):
    module = layer(in_features, out_features)
    train(module, steps)
    for mode in (True, False):
        values = singular_values(module.train(mode))
        assert values.max() <= 1 + 1e-6
        assert values.min() >= 1 - 1e-6
    assert module.lipschitz_bound == 1
    assert module.joint is True


@pytest.mark.parametrize(("optimizer", "learning_rate"), [(torch.optim.SGD, 10.0), (torch.optim.Adam, 3.0)])
def test_steps_that_are_far_too_large_keep_it_orthogonal(optimizer, learning_rate):
    module = layer(bias=False)
    stepper = optimizer(module.parameters(), lr=learning_rate)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        stepper.zero_grad()
        module(torch.randn(16, 32, generator=generator)).square()[:, :5].sum().backward()
        stepper.step()
    original = module.parametrizations.weight.original
    assert torch.linalg.cond(original.detach()) > 5
    assert (singular_values(module) - 1).abs().max() <= 1e-6


def test_training_learns_a_rotation():
    module = layer(16, 16)
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(3)))[0]
    rotation[0] *= torch.sign(torch.linalg.det(rotation) * torch.linalg.det(module.weight.detach()))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for _ in range(150):
        loss = (module.weight - rotation).square().sum() + module.bias.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-4


def test_it_starts_orthonormal_at_its_own_weight():
    module = layer(24, 40)
    assert torch.allclose(module.weight, module.parametrizations.weight.original, atol=1e-6)


def test_outputs_are_those_of_a_plain_layer_with_its_weight():
    module = layer(20, 12)
    train(module, 5)
    plain = nn.Linear(20, 12)
    plain.load_state_dict({"weight": module.weight, "bias": module.bias})
    inputs = torch.randn(7, 20)
    assert torch.equal(plain(inputs), module(inputs))


def test_removing_the_parametrisation_leaves_a_plain_layer():
    module = layer(20, 12)
    train(module, 5)
    inputs = torch.randn(7, 20)
    expected = module(inputs)
    exported = copy.deepcopy(module)
    parametrize.remove_parametrizations(exported, "weight")
    assert list(exported.state_dict()) == ["bias", "weight"] or list(exported.state_dict()) == ["weight", "bias"]
    assert torch.equal(exported(inputs), expected)


def test_the_state_dict_makes_the_round_trip():
    module, other = layer(20, 12), layer(20, 12, seed=5)
    train(module, 5)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    inputs = torch.randn(7, 20)
    assert not torch.equal(other(inputs), module(inputs))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other(inputs), module(inputs))


def test_copies_train_apart():
    module = layer()
    other = copy.deepcopy(module)
    before = module.weight.detach().clone()
    train(other, 3)
    assert torch.equal(module.weight, before)
    assert not torch.equal(other.weight, before)


def test_the_weight_is_computed_once_in_a_cached_block(monkeypatch):
    calls = []
    original = newton_schulz_linear.orthonormal_factor
    monkeypatch.setattr(newton_schulz_linear, "orthonormal_factor", lambda X: calls.append(0) or original(X))
    module, inputs = layer(), torch.randn(8, 32)
    calls.clear()
    with parametrize.cached():
        loss = module(inputs).square().sum() + module(2 * inputs).sum()
    assert len(calls) == 1
    loss.backward()
    cached = module.parametrizations.weight.original.grad.clone()
    module.zero_grad()
    (module(inputs).square().sum() + module(2 * inputs).sum()).backward()
    assert len(calls) == 3
    assert torch.allclose(cached, module.parametrizations.weight.original.grad, atol=1e-3)


def test_evaluation_changes_no_state_and_repeats_to_the_last_bit():
    module = layer().eval()
    train(module, 3)
    state = copy.deepcopy(module.state_dict())
    inputs = torch.randn(8, 32)
    first = module(inputs)
    with torch.no_grad():
        assert torch.equal(module(inputs), first)
    assert torch.equal(module.train()(inputs), first)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(("in_features", "out_features"), [(6, 6), (6, 4), (4, 6)])
def test_gradients_of_a_float64_layer_pass_gradcheck(in_features, out_features):
    module = layer(in_features, out_features).double()
    inputs = torch.randn(3, in_features, dtype=torch.float64, requires_grad=True)
    original = torch.randn(out_features, in_features, dtype=torch.float64, requires_grad=True)

    def outputs(inputs, original):
        values = {"parametrizations.weight.original": original, "bias": module.bias}
        return torch.func.functional_call(module, values, (inputs,))

    assert torch.autograd.gradcheck(outputs, (inputs, original))


def test_an_assigned_weight_becomes_its_polar_factor():
    module = layer(20, 12)
    given = torch.randn(12, 20)
    module.weight = given
    assert torch.allclose(module.weight, polar_factor(given), atol=1e-5)


def test_jacobians_for_the_inputs_by_functional_transforms():
    module = layer(9, 7)
    point = torch.randn(9)
    weight = module.weight.detach()
    assert torch.allclose(torch.func.jacrev(module)(point), weight, atol=1e-6)
    assert torch.allclose(torch.func.jacfwd(module)(point), weight, atol=1e-6)
    batch = torch.func.vmap(torch.func.jacrev(module))(torch.randn(4, 9))
    assert torch.allclose(batch, weight.expand(4, -1, -1), atol=1e-6)


def test_second_derivatives_for_the_inputs_alone_are_allowed():
    module, inputs = layer(), torch.randn(4, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(inputs).square().sum(), inputs, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), inputs)
    assert second.isfinite().all()
    original = module.parametrizations.weight.original
    (gradient,) = torch.autograd.grad(module(inputs).square()[:, :3].sum(), original, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_the_weight_of_float32(dtype):
    module = layer(20, 30).to(dtype)
    assert module.weight.dtype == dtype
    assert (singular_values(module) - 1).abs().max() <= torch.finfo(dtype).eps
    module(torch.randn(4, 20, dtype=dtype)).sum().backward()
    assert module.parametrizations.weight.original.grad.isfinite().all()


def test_the_weight_is_orthogonal_under_autocast():
    module = layer()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = module.weight
        assert weight.dtype == torch.float32
    assert torch.equal(weight, module.weight)


def test_without_a_bias_it_has_none():
    module = layer(5, 4, bias=False)
    assert module.bias is None
    assert not module(torch.zeros(2, 5)).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4), "in_features must be an integer >= 1, got 0"),
        ((4, -1), "out_features must be an integer >= 1, got -1"),
        ((4.0, 4), "in_features must be an integer >= 1, got 4.0"),
        ((4, True), "out_features must be an integer >= 1, got True"),
    ],
)
def test_sizes_that_no_orthogonal_weight_has_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NewtonSchulzLinear(*arguments)
