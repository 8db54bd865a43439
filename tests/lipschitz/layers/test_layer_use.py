"""Layers in use: saving, copying, exporting, caching, evaluation without side effects, other precisions."""

import copy
import io
import math
import subprocess
import sys

import pytest
import torch
from layer_cases import jacobian, some_layers, train
from torch import nn
from torch.nn.utils import parametrize

from orthobench.lipschitz.bounds import upper_bound
from orthobench.lipschitz.layers import LAYERS, MaxMin, export_plain, make_layer

LAYERS_IN_USE = some_layers()
each_layer = pytest.mark.parametrize(("make", "shape"), [pytest.param(*rest, id=name) for name, *rest in LAYERS_IN_USE])


def trained(make, shape, seed=0):
    torch.manual_seed(seed)
    return train(make(), shape, steps=3)


def batch(shape, count=3, seed=5):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


@each_layer
def test_a_layer_states_its_bound_and_whether_it_is_joint(make, shape):
    layer = make()
    assert isinstance(layer.lipschitz_bound, float)
    assert layer.lipschitz_bound > 0
    assert isinstance(layer.joint, bool)


@each_layer
def test_a_state_dict_makes_another_layer_equal(make, shape):
    layer = trained(make, shape)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    other = make().eval()
    x = batch(shape)
    assert not torch.allclose(layer(x), other(x))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert layer(x).equal(other(x))


@each_layer
def test_a_copy_is_equal_and_independent(make, shape):
    layer = trained(make, shape)
    x = batch(shape)
    before = layer(x).detach()
    other = copy.deepcopy(layer)
    assert other(x).equal(before)
    assert other.lipschitz_bound == layer.lipschitz_bound
    train(other, shape, steps=2)
    assert layer(x).equal(before)


@each_layer
def test_evaluation_changes_no_state_and_repeats_itself(make, shape):
    layer = trained(make, shape)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    x = batch(shape)
    first = layer(x)
    layer(batch(shape, seed=6))
    assert layer(x).equal(first)
    assert all(value.equal(before[key]) for key, value in layer.state_dict().items())
    torch.testing.assert_close(layer(x[:1]), first[:1])


@each_layer
def test_cached_evaluation_equals_uncached_and_ends_with_the_context(make, shape):
    layer = trained(make, shape)
    x = batch(shape)
    with torch.no_grad():
        expected = layer(x)
        with parametrize.cached():
            assert layer(x).equal(expected)
            assert layer(x).equal(expected)
        for parameter in layer.parameters():
            parameter.mul_(1.5).add_(0.1)
        changed = layer(x)
        assert not torch.allclose(changed, expected)
        with parametrize.cached():
            assert layer(x).equal(changed)


@pytest.mark.parametrize("name", ["cayley", "lot", "sandwich", "cpl", "sll", "soc"])
def test_what_depends_on_the_weights_is_computed_once_for_each_size_in_a_cached_context(name, monkeypatch):
    layer = make_layer(name, 4, 4, 3).eval()
    method = {"sandwich": "factors", "cpl": "inverse_scales", "sll": "inverse_scales", "soc": "skew_kernel"}
    method = method.get(name, "operator")
    calls, original = [], getattr(type(layer), method)
    monkeypatch.setattr(type(layer), method, lambda *arguments: calls.append(1) or original(*arguments))
    with torch.no_grad():
        with parametrize.cached():
            for size in (6, 6, 8, 6, 8):
                layer(torch.zeros(1, 4, size, size))
        assert len(calls) == (1 if name == "soc" else 2)
        layer(torch.zeros(1, 4, 6, 6))
        layer(torch.zeros(1, 4, 6, 6))
    assert len(calls) == (3 if name == "soc" else 4)


@each_layer
def test_an_exported_layer_equals_the_trained_one(make, shape):
    layer = trained(make, shape)
    exported = export_plain(layer)
    x = batch(shape)
    torch.testing.assert_close(exported(x), layer(x), atol=1e-6, rtol=1e-6)
    assert exported.lipschitz_bound == pytest.approx(layer.lipschitz_bound, rel=1e-6)
    assert not exported.training
    assert not any(parametrize.is_parametrized(module) for module in exported.modules())


@each_layer
def test_a_loaded_layer_is_exported_without_a_forward_pass(make, shape):
    layer, other = trained(make, shape), make()
    other.load_state_dict(layer.state_dict())
    x = batch(shape)
    torch.testing.assert_close(export_plain(other)(x), layer(x), atol=1e-6, rtol=1e-6)


@each_layer
def test_a_loaded_layer_stays_what_it_is_after_a_step(make, shape, request):
    layer, other = trained(make, shape), make()
    other.load_state_dict(layer.state_dict())
    train(other, shape, steps=1)
    assert not other(batch(shape)).equal(layer(batch(shape)))
    if not hasattr(other, "apply_weight") and "sandwich" not in request.node.name and other.joint:
        values = torch.linalg.svdvals(jacobian(other, shape))
        assert values[0] <= other.lipschitz_bound * (1 + 1e-5)
        kind = LAYERS[request.node.name.split("[")[1].split("-")[0]]
        if kind.orthogonal and "zeros" not in request.node.name:
            assert (values - 1).abs().max() <= 1e-5


@each_layer
def test_the_bound_computed_from_outside_is_not_above_the_stated_one(make, shape):
    layer = trained(make, shape)
    if layer.joint:
        assert 0.5 <= upper_bound(layer, shape).total <= layer.lipschitz_bound * (1 + 1e-4)
    else:
        assert upper_bound(layer, shape, per_output=True).total <= layer.lipschitz_bound * (1 + 1e-4)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        make_layer("aoc_bjorck", 1, 8, 3),
        MaxMin(),
        make_layer("bcop", 8, 8, 3, stride=2),
        MaxMin(),
        make_layer("cayley", 8, 8, 3),
        make_layer("cpl", 8, 8, 3),
        make_layer("aoc_qr", 8, 8, 4, stride=2, padding_mode="zeros"),
        make_layer("aoc_exp", 8, 4, 2, stride=2, transposed=True),
        nn.Flatten(),
        make_layer("sandwich", 64, 16),
        make_layer("bjorck", 16, 10),
    )


def test_an_exported_network_equals_the_trained_one_and_holds_plain_weights():
    model = train(network(), (1, 8, 8), steps=5, learning_rate=0.1)
    exported = export_plain(model)
    x = batch((1, 8, 8), count=20)
    torch.testing.assert_close(exported(x), model(x), atol=1e-6, rtol=0)
    assert 0.9 <= upper_bound(model, (1, 8, 8)).total <= 1 + 1e-4
    assert type(exported[0]) is nn.Conv2d
    assert type(exported[-1]) is nn.Linear
    assert type(exported[2][1]) is nn.Conv2d
    assert type(exported[7].convolution) is nn.ConvTranspose2d
    assert not any("parametrizations" in key for key in exported.state_dict())
    assert parametrize.is_parametrized(model[0])  # the network itself is as it was


def test_export_draws_no_random_numbers_and_keeps_a_shared_layer_shared():
    shared = make_layer("bjorck", 4, 4)
    model = nn.Sequential(shared, MaxMin(), shared)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    exported = export_plain(model)
    assert torch.get_rng_state().equal(state)
    assert exported[0] is exported[2]


def test_an_exported_strided_convolution_still_refuses_images_its_stride_does_not_divide():
    exported = export_plain(make_layer("aoc_qr", 4, 8, 3, stride=2))
    with pytest.raises(ValueError, match="multiple"):
        exported(torch.zeros(1, 4, 7, 7))


@each_layer
def test_autocast_to_bfloat16_computes_the_weights_in_full_precision(make, shape):
    layer = trained(make, shape)
    x = batch(shape)
    with torch.no_grad():
        expected = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            result = layer(x)
    assert result.isfinite().all()
    assert (result.float() - expected).norm() <= 0.03 * expected.norm()


@each_layer
def test_training_under_autocast_goes_on(make, shape):
    torch.manual_seed(0)
    layer = make()
    with torch.autocast("cpu", torch.bfloat16):
        layer(batch(shape)).float().square().mean().backward()
    gradients = [p.grad for p in layer.parameters() if p.requires_grad]
    assert all(each is not None and each.isfinite().all() for each in gradients)


@each_layer
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_in_half_precision_is_near_the_one_of_float32_and_states_its_own_bound(make, shape, dtype):
    torch.manual_seed(0)
    layer, x = make().eval(), batch(shape)
    expected = layer(x).detach()
    layer(x.requires_grad_()).square().sum().backward()
    gradient, stated = x.grad, layer.lipschitz_bound
    layer = layer.to(dtype)
    x = x.detach().to(dtype).requires_grad_()
    result = layer(x)
    assert result.dtype == dtype
    assert (result.float() - expected).norm() <= 0.05 * expected.norm()
    result.float().square().sum().backward()
    assert (x.grad.float() - gradient).norm() <= 0.1 * gradient.norm()
    bound = upper_bound(layer, shape, per_output=not layer.joint).total
    assert bound <= layer.lipschitz_bound * (1 + 1e-6)
    assert layer.lipschitz_bound <= 1.05 * stated
    layer.train()(x).sum().backward()  # training goes on


@each_layer
def test_an_empty_batch_gives_an_empty_result(make, shape):
    layer = make()
    result = layer(torch.zeros(0, *shape))
    assert result.shape == (0, *layer(torch.zeros(2, *shape)).shape[1:])
    result.sum().backward()
    assert all(each.grad is None or not each.grad.any() for each in layer.parameters())


@each_layer
def test_weights_that_are_not_finite_have_no_bound(make, shape):
    layer = make().eval()
    with torch.no_grad():
        max(layer.parameters(), key=torch.Tensor.numel).view(-1)[0] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        layer.lipschitz_bound  # noqa: B018 - it is computed when it is read
    with pytest.raises(ValueError, match="not finite"):
        upper_bound(layer, shape)


@each_layer
def test_weights_of_zero_have_a_bound_that_holds_or_none(make, shape):
    layer = make().eval()
    with torch.no_grad():
        for each in layer.parameters():
            if each.requires_grad:
                each.zero_()
    x = batch(shape, count=2)
    first, second = layer(x).detach().double()
    if first.isfinite().all():
        bound = min(layer.lipschitz_bound, upper_bound(layer, shape, per_output=not layer.joint).total)
        assert (first - second).norm() <= bound * (x[0] - x[1]).double().norm() * (1 + 1e-6)
    else:  # the layer divides by its norm
        with pytest.raises(ValueError, match="not finite, or is zero"):
            layer.lipschitz_bound  # noqa: B018 - it is computed when it is read
        with pytest.raises(ValueError, match="not finite"):
            upper_bound(layer, shape)


@each_layer
def test_float64_layers_are_float64_all_through(make, shape):
    torch.manual_seed(0)
    layer = make().eval()
    x = batch(shape)
    with torch.no_grad():
        expected = layer(x)
        result = layer.double()(x.double())
    assert result.dtype == torch.float64
    torch.testing.assert_close(result.float(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["cayley", "lot", "bcop", "aoc_bjorck", "aoc_qr"])
def test_orthogonality_in_float64_is_that_of_float64(name):
    torch.manual_seed(0)
    # With two channels Orthogonium normalises columns rather than orthogonalising them, and adds 1e-8 to their norms.
    width, tolerance = (2, 1e-6) if name == "aoc_qr" else (4, 1e-9)
    layer = make_layer(name, width, width, 3, bias=False).double().eval()
    torch.set_default_dtype(torch.float64)
    try:
        values = torch.linalg.svdvals(jacobian(layer, (width, 5, 5)))
    finally:
        torch.set_default_dtype(torch.float32)
    assert (values - 1).abs().max() < tolerance


def test_our_own_kinds_need_no_library_and_the_others_say_which():
    code = """
import sys
sys.modules["orthogonium"] = None
from orthobench.lipschitz.bounds import upper_bound
from orthobench.lipschitz.layers import LAYERS, MaxMin, make_layer
for kind in ("plain", "spectral", "soc", "cayley", "cpl", "sll", "lot", "sandwich", "bcop"):
    make_layer(kind, 4, 4, 3)
for kind, size in (("aoc_qr", 3), ("aol", 3), ("aol", None), ("bjorck", 3), ("bjorck", None), ("unit_norm", None)):
    try:
        make_layer(kind, 4, 4, size)
    except ImportError as error:
        assert "pip install 'orthobench[libraries]'" in str(error), error
    else:
        raise AssertionError(kind)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_equal_seeds_make_equal_layers():
    for name, make, shape in LAYERS_IN_USE:
        outputs = []
        for _ in range(2):
            torch.manual_seed(7)
            outputs.append(make().eval()(batch(shape)))
        assert outputs[0].equal(outputs[1]), name


def test_every_kind_has_its_name_and_a_source():
    for name, kind in LAYERS.items():
        assert kind.name == name
        assert kind.source
        assert kind.dense or kind.conv
        assert bool(kind.padding_modes) == kind.conv
