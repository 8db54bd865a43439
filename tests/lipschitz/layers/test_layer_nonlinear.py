"""Residual and sandwich layers: Jacobians at inputs and under any activation pattern stay below the certified bound."""

import itertools

import pytest
import torch
from layer_cases import covering_cases, input_shape, jacobian, make, scaled, train
from torch.nn.functional import pixel_unshuffle

from orthobench.lipschitz.layers import LAYERS, make_layer
from orthobench.lipschitz.layers.spectra import apply_spectrum

RESIDUAL = ["cpl", "sll"]
CASES = [(name, case) for name in (*RESIDUAL, "sandwich") for case in covering_cases(LAYERS[name])]


def name_case(value):
    return value if isinstance(value, str) else "-".join(str(each).replace(" ", "") for each in value.values())


def patterns(count, size, seed=0):
    """Diagonals between 0 and 1: what the derivatives of an activation can be, corners first."""
    generator = torch.Generator().manual_seed(seed)
    corners = [torch.ones(size), *(torch.rand(size, generator=generator) < 0.5 for _ in range(count))]
    inside = [torch.rand(size, generator=generator) for _ in range(count)]
    return [each.double() for each in (*corners, *inside)]


def largest_over_patterns(layer, shape, count=2):
    """The largest norm of the Jacobian over patterns that no input need lead to."""
    if hasattr(layer, "apply_weight"):
        W = jacobian(lambda x: layer.apply_weight(x, layer.weight.detach()), shape)
        scales = layer.inverse_scales(layer.weight.detach(), shape[1:]).double()
        scales = scales.expand(len(layer.weight)).repeat_interleave(len(W) // len(layer.weight))
        V = scales.sqrt()[:, None] * W
        identity = torch.eye(W.shape[1], dtype=torch.float64)
        jacobians = (identity - 2 * V.T @ (D[:, None] * V) for D in patterns(count, len(V)))
    else:
        A_T, B = sandwich_factors(layer, shape)
        jacobians = (2 * A_T @ (D[:, None] * B) for D in patterns(count, len(B)))
    return max(float(torch.linalg.matrix_norm(J, 2)) for J in jacobians)


def sandwich_factors(layer, shape):
    """A^T and B as dense matrices."""
    with torch.no_grad():
        if len(shape) == 1:
            A_T, B_T = layer.factors(torch.float32).split([layer.out_features, layer.in_features])
            return A_T.double(), B_T.T.double()
        size = tuple(n // layer.stride for n in shape[1:])
        factors = layer.factors(size, torch.float32)
        A_H, B_H = factors.split([layer.out_channels, shape[0] * layer.stride**2], dim=-2)
        B = jacobian(lambda x: apply_spectrum(B_H.mH, pixel_unshuffle(x, layer.stride)), shape)
        return jacobian(lambda z: apply_spectrum(A_H, z), (layer.out_channels, *size)), B


def check(layer, shape, inputs=2):
    bound = layer.certified_bound(shape)
    assert 1 <= bound <= 1 + 1e-4
    assert layer.lipschitz_bound == 1
    assert largest_over_patterns(layer, shape) <= bound + 2e-6
    generator = torch.Generator().manual_seed(2)
    for scale in (1.0, 100.0)[:inputs]:
        x = scale * torch.randn(shape, generator=generator)
        assert torch.linalg.matrix_norm(jacobian(layer, shape, at=x), 2) <= bound + 2e-6


@pytest.mark.parametrize(("name", "case"), CASES, ids=name_case)
def test_jacobians_stay_below_the_certified_bound_before_and_after_training(name, case):
    shape = input_shape(case)
    layer = make(name, case).eval()
    check(layer, shape, inputs=1)
    train(layer, shape)
    check(layer, shape)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *itertools.product(RESIDUAL, [(12, 12), (1, 1)]),
        *itertools.product(["sandwich"], [(12, 12), (5, 9), (9, 5), (1, 1)]),
    ],
)
def test_dense_jacobians_stay_below_the_certified_bound(name, shape):
    torch.manual_seed(0)
    layer = make_layer(name, *shape).eval()
    for _ in range(2):
        check(layer, shape[:1])
        train(layer, shape[:1])


@pytest.mark.parametrize("scale", [1, 10, 100, 1e3, 1e4])
@pytest.mark.parametrize("name", [*RESIDUAL, "sandwich"])
def test_the_bounds_hold_for_the_float32_pass_of_weights_of_any_scale(name, scale):
    for kernel_size in (None, 1, 3, 5):
        shape = (4,) if kernel_size is None else (4, 6, 6)
        torch.manual_seed(0)
        layer = scaled(make_layer(name, 4, 4, kernel_size), scale)
        bound = min(layer.certified_bound(shape), layer.lipschitz_bound) * (1 + 5e-6)
        assert largest_over_patterns(layer, shape) <= bound
        if name == "sandwich":
            A_T, B = sandwich_factors(layer, shape)
            assert torch.linalg.matrix_norm(torch.cat([A_T.T, B], dim=1), 2) ** 2 <= bound
        J = jacobian(layer, shape, at=torch.randn(shape, generator=torch.Generator().manual_seed(2)))
        assert torch.linalg.matrix_norm(J, 2) <= bound


@pytest.mark.parametrize("padding_mode", ["circular", "zeros"])
@pytest.mark.parametrize("name", RESIDUAL)
def test_the_certified_bound_sees_a_scale_that_is_too_large(name, padding_mode, monkeypatch):
    torch.manual_seed(0)
    layer = make_layer(name, 4, 4, 3, padding_mode=padding_mode).eval()
    exact = type(layer).inverse_scales
    monkeypatch.setattr(type(layer), "inverse_scales", lambda *arguments: 4 * exact(*arguments))
    measured = largest_over_patterns(layer, (4, 6, 6))
    assert measured > 1.5
    assert measured <= layer.certified_bound((4, 6, 6)) * (1 + 1e-5)


@pytest.mark.parametrize("shape", [(8,), (4, 6, 6)], ids=str)
def test_power_iteration_in_training_finds_the_norm_that_evaluation_computes(shape):
    torch.manual_seed(0)
    layer = make_layer("cpl", shape[0], shape[0], *([3] if len(shape) > 1 else []))
    x = torch.randn(2, *shape)
    with torch.no_grad():
        for _ in range(100):
            trained = layer(x)
        torch.testing.assert_close(trained, layer.eval()(x), rtol=1e-3, atol=1e-3)


def test_the_state_of_a_power_iteration_travels_in_the_state_dict():
    torch.manual_seed(0)
    layer, other = make_layer("cpl", 4, 4, 3), make_layer("cpl", 4, 4, 3)
    x = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        layer(x)
        other.load_state_dict(layer.state_dict())
        for _ in range(3):
            assert layer(x).equal(other(x))
