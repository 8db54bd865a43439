"""Interval and CROWN bounds: against plain float64 loops, exact where they must be, sound where they are not."""

import numpy as np
import pytest
import torch
from torch import nn

from orthobench.conformal.verification import BoundedNetwork, stages_of
from orthobench.lipschitz.bounds import Residual
from orthobench.lipschitz.layers import export_plain, make_layer
from orthobench.models import lipschitz_convnet, lipschitz_mlp

SHAPE = (1, 4, 4)
METHODS = ("interval", "crown_interval", "crown")


def dense(depth=2, width=16):
    return lipschitz_mlp(0, nn.Linear, nn.Linear, nn.ReLU, features=16, outputs=3, width=width, depth=depth).double()


def convolution(inputs, outputs, kernel, padding_mode):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode=padding_mode)


def convolutional(padding_mode="circular"):
    sizes = {"size": 4, "outputs": 3, "width": 4, "blocks": 1, "convolutions": 1}
    return lipschitz_convnet(0, convolution, nn.Linear, nn.ReLU, padding_mode=padding_mode, **sizes).double()


def others():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(norm.weight)
    return nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, padding=1), norm, nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
                         nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3)).double().eval()  # fmt: skip


def images(count=6):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def points_of(x, radius, norm, count=300):
    """Return points (count, n, ...) of the balls, at their borders."""
    moves = torch.randn(count, *x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    if norm == "linf":
        return x + radius * moves.sign()
    return x + radius * moves / moves.flatten(2).norm(dim=2).view(count, -1, 1, 1, 1)


# --- a plain loop: dense layers, one input, numpy


def crown_in_a_loop(weights, biases, x, radius, order, rows, method):
    """Return lower bounds of rows @ logits: `weights` of the layers, with a ReLU between each two."""
    dual = {"l2": lambda row: np.sqrt((row**2).sum()), "linf": lambda row: np.abs(row).sum()}[order]
    boxes = []

    def back(row, last):
        """Return the bounds of one row of layer `last`: by the input, and by the box of the last ReLU."""
        constant, row = row @ biases[last], row @ weights[last]
        by_box = -np.inf
        if last:
            low, high = (np.maximum(each, 0) for each in boxes[last - 1])
            by_box = constant + sum(min(a * below, a * above) for a, below, above in zip(row, low, high, strict=True))
        for layer in range(last - 1, -1, -1):
            new = np.zeros_like(row)
            for unit, (a, below, above) in enumerate(zip(row, *boxes[layer], strict=True)):
                if below >= 0:
                    new[unit] = a
                elif above > 0 and a > 0:
                    new[unit] = a if above >= -below else 0
                elif above > 0:
                    new[unit] = a * above / (above - below)
                    constant += a * -below * above / (above - below)
            constant, row = constant + new @ biases[layer], new @ weights[layer]
        return constant + row @ x - radius * dual(row), by_box

    for layer in range(len(weights) - 1):
        units = np.eye(len(biases[layer]))
        if layer == 0:
            middle, spread = weights[0] @ x + biases[0], np.array([radius * dual(row) for row in weights[0]])
        else:
            low, high = (np.maximum(each, 0) for each in boxes[-1])
            middle = weights[layer] @ (low + high) / 2 + biases[layer]
            spread = np.abs(weights[layer]) @ (high - low) / 2
        low, high = middle - spread, middle + spread
        if layer and method == "crown":
            low = np.maximum(low, [max(back(unit, layer)) for unit in units])
            high = np.minimum(high, [-max(back(-unit, layer)) for unit in units])
        boxes.append((low, high))
    last = len(weights) - 1
    return [back(row, last)[1] if method == "interval" else max(back(row, last)) for row in rows]


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("radius", [0.0, 0.05, 0.5])
def test_bounds_of_a_dense_network_are_those_of_a_plain_loop(method, norm, radius):
    model, x = dense(depth=3), images(3)
    layers = [each for each in model.modules() if isinstance(each, nn.Linear)]
    weights = [each.weight.detach().numpy() for each in layers]
    biases = [each.bias.detach().numpy() for each in layers]
    rows = torch.cat([torch.eye(3), -torch.eye(3), torch.tensor([[1.0, -1.0, 0.0]])]).double()
    found = BoundedNetwork(model, SHAPE, radius, norm, method).lower_bounds(x, rows)
    for one, bounds in zip(x, found, strict=True):
        expected = crown_in_a_loop(weights, biases, one.flatten().numpy(), radius, norm, rows.numpy(), method)
        torch.testing.assert_close(bounds, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


# --- properties


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "model", [dense(), convolutional(), convolutional("zeros"), others()], ids=["dense", "circular", "zeros", "others"]
)
def test_no_point_of_the_ball_is_beyond_the_bounds(model, method, norm):
    x, rows = images(), torch.cat([torch.eye(3), -torch.eye(3)])
    for radius in (0.02, 0.3):
        bounds = BoundedNetwork(model, SHAPE, radius, norm, method).lower_bounds(x, rows)
        logits = model(points_of(x, radius, norm).flatten(0, 1)).view(300, -1, 3).detach()
        assert (torch.cat([logits, -logits], dim=2) >= bounds - 1e-9).all()


@pytest.mark.parametrize("model", [dense(), convolutional(), others()], ids=["dense", "convolutional", "others"])
def test_crown_is_at_least_as_tight_as_intervals(model):
    x, rows = images(), torch.cat([torch.eye(3), -torch.eye(3)])
    bounds = {name: BoundedNetwork(model, SHAPE, 0.1, "l2", name).lower_bounds(x, rows) for name in METHODS}
    assert (bounds["crown"] >= bounds["crown_interval"] - 1e-12).all()
    assert (bounds["crown_interval"] >= bounds["interval"] - 1e-12).all()
    assert (bounds["crown"] > bounds["interval"] + 1e-3).any()


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_relu_is_bounded_exactly(method):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    x = images()
    rows = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    found = BoundedNetwork(model, SHAPE, 0.3, "l2", method).lower_bounds(x, rows)
    expected = model(x) @ rows.T - 0.3 * (rows @ model[1].weight).norm(dim=1)
    torch.testing.assert_close(found, expected.detach())


@pytest.mark.parametrize("method", METHODS)
def test_a_radius_of_zero_gives_the_network_itself(method):
    for model in (dense(), convolutional(), others()):
        found = BoundedNetwork(model, SHAPE, 0.0, "l2", method).lower_bounds(images(), torch.eye(3))
        torch.testing.assert_close(found, model(images()).detach())


def test_rows_of_each_input_and_rows_in_parts_give_the_same(monkeypatch):
    network, x = BoundedNetwork(dense(), SHAPE, 0.1), images()
    rows = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    own = network.lower_bounds(x, rows)
    for index in range(6):
        torch.testing.assert_close(own[index], network.lower_bounds(x[index : index + 1], rows[index])[0])
    monkeypatch.setattr("orthobench.conformal.verification.bounds._NUMBERS_AT_ONCE", 200)
    torch.testing.assert_close(network.lower_bounds(x, rows), own)


def test_the_transpose_of_a_stage_is_that_of_its_matrix():
    for model in (convolutional(), others()):
        for stage in stages_of(model, SHAPE):
            x = torch.randn(5, *stage.input_shape, dtype=torch.float64)
            rows = torch.randn(5, *stage.output_shape, dtype=torch.float64)
            forward = ((stage.forward(x) - stage.constant) * rows).flatten(1).sum(1)
            torch.testing.assert_close((stage.transpose(rows) * x).flatten(1).sum(1), forward.detach())


def test_bounds_are_differentiable_in_the_input():
    network = BoundedNetwork(convolutional(), SHAPE, 0.05)
    x = images(2).requires_grad_()
    function = lambda inputs: network.lower_bounds(inputs, torch.eye(3))  # noqa: E731
    assert torch.autograd.gradcheck(function, (x,), eps=1e-7, atol=1e-4)


def test_layers_without_known_bounds_are_named():
    for layer, name in ((nn.GELU(), "GELU"), (nn.BatchNorm1d(4, track_running_stats=False), "BatchNorm1d")):
        with pytest.raises(ValueError, match=rf"'1\.0' \({name}\)"):
            stages_of(nn.Sequential(nn.Linear(4, 4), nn.Sequential(layer)), (4,))
    with pytest.raises(ValueError, match="export_plain"):
        stages_of(nn.Sequential(make_layer("bjorck", 4, 4), nn.ReLU()), (4,))
    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda module, inputs, outputs: 2 * outputs)
    with pytest.raises(ValueError, match="without hooks"):
        stages_of(hooked, (4,))


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("method", METHODS)
def test_dilations_strides_and_means_of_any_sign_are_bounded_soundly(method, norm):
    torch.manual_seed(0)
    pool = nn.AvgPool2d(2, divisor_override=-1)
    strided = export_plain(make_layer("bcop", 3, 4, 2, stride=2))
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=2, dilation=2), nn.ReLU(), strided, pool, nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)
    ).double().requires_grad_(False).eval()  # fmt: skip
    x, rows = images(), torch.cat([torch.eye(3), -torch.eye(3)])
    bounds = BoundedNetwork(model, SHAPE, 0.3, norm, method).lower_bounds(x, rows)
    logits = model(points_of(x, 0.3, norm, count=10_000 // len(x)).flatten(0, 1)).view(-1, len(x), 3)
    assert (torch.cat([logits, -logits], dim=2) >= bounds - 1e-9).all()


@pytest.mark.parametrize(
    "layer",
    [
        Residual(nn.Conv2d(1, 1, 3, padding=1)),
        nn.MaxPool2d(2),
        nn.Sequential(nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(2)),
        nn.ConvTranspose2d(1, 1, 2, stride=2),
    ],
    ids=["residual", "maximum", "two", "transposed"],
)
def test_networks_of_other_layers_are_refused_rather_than_bounded_wrongly(layer):
    with pytest.raises(ValueError, match="no bounds are known of layer"):
        stages_of(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), layer, nn.Flatten()), SHAPE)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["affine", "activation", "container"])
def test_no_part_with_a_hook_or_a_forward_of_its_own_is_overlooked(part):
    for change in (
        lambda module: module.register_forward_hook(lambda module, inputs, outputs: 2 * outputs),
        lambda module: module.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],)),
        lambda module: setattr(module, "forward", lambda x: 2 * x),
    ):
        model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2))
        change([model[0][0], model[0][1], model[0]][part])
        with pytest.raises(ValueError, match="no bounds are known"):
            stages_of(model, (4,))


def test_bad_options_are_an_error():
    with pytest.raises(ValueError, match="method"):
        BoundedNetwork(dense(), SHAPE, 0.1, method="alpha_crown")
    with pytest.raises(ValueError, match="norm"):
        BoundedNetwork(dense(), SHAPE, 0.1, norm="l1")
