"""What is measured of a robust network, on networks whose figures are known."""

import math

import pytest
import torch
from lipschitz_toys import CPU, Stated, make_parts
from made_up_clock import made_up_clock
from torch import nn

from orthobench.harness.checks import check_outputs
from orthobench.harness.status import Diverged, InvalidResult
from orthobench.lipschitz import evaluation
from orthobench.lipschitz.layers import make_layer

GENERATOR = torch.Generator().manual_seed(0)


def orthonormal_rows(rows, columns):
    return torch.linalg.qr(torch.randn(columns, columns, generator=GENERATOR))[0][:rows]


def test_outputs_are_those_of_the_model_in_evaluation_mode():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3)).train()
    inputs = make_parts().train.inputs
    outputs = evaluation.outputs_of(model, inputs, CPU)
    assert torch.equal(outputs, model.eval()(inputs))
    assert not outputs.requires_grad
    assert not nn.utils.parametrize._cache_enabled


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_are_diverged(value):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        model[1].bias[1] = value
    outputs = evaluation.outputs_of(model, make_parts().train.inputs, CPU)
    with pytest.raises(Diverged, match="NaN or infinity for 48 of 48 inputs"):
        check_outputs(outputs, 48)


def test_outputs_of_another_shape_are_refused():
    for outputs in (torch.zeros(4, 2, 2), torch.zeros(8), torch.zeros(3, 2)):
        with pytest.raises(InvalidResult, match="expected rows"):
            check_outputs(outputs, 4)


def test_spectra_are_those_of_the_layers():
    first, second = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5])), 0.7 * orthonormal_rows(3, 4)
    model = nn.Sequential(nn.Flatten(), Stated(first, 3.0), nn.ReLU(), nn.Sequential(Stated(second, 0.7)))
    spectra = evaluation.layer_spectra(model, (1, 2, 2), CPU)
    assert [(each["name"], each["inputs"], each["stated"]) for each in spectra] == [("1", [4], 3.0), ("3.0", [4], 0.7)]
    found = [(each["sigma_min"], each["sigma_max"]) for each in spectra]
    assert found == [pytest.approx((0.5, 3.0)), pytest.approx((0.7, 0.7))]
    assert evaluation.orthogonality_error(spectra) == pytest.approx(2.0)
    assert evaluation.orthogonality_error(spectra[1:]) == pytest.approx(0.3)
    assert math.isnan(evaluation.orthogonality_error([]))


def test_a_layer_that_is_not_affine_has_no_spectrum():
    model = nn.Sequential(make_layer("cpl", 4, 4, 3), make_layer("cayley", 4, 4, 3), nn.Flatten())
    (only,) = evaluation.layer_spectra(model, (4, 4, 4), CPU)
    assert only["name"] == "1"
    assert (only["sigma_min"], only["sigma_max"]) == pytest.approx((1, 1), abs=1e-5)
    assert not any(each._forward_hooks for each in model.modules())


def test_layers_inside_a_layer_are_part_of_it():
    inside = nn.Sequential(Stated(torch.eye(4), 1.0), Stated(torch.eye(4), 1.0))
    inside.lipschitz_bound = 1.0
    model = nn.Sequential(inside, Stated(torch.eye(4), 2.0))
    assert [name for name, _ in evaluation.stating_layers(model)] == ["0", "1"]


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((16, 4, 4), (16, 4, 4)),
        ((16, 8, 8), (16, 4, 4)),
        ((64, 7, 7), (64, 2, 2)),
        ((2000, 4, 4), (2000, 1, 1)),
        ((9000,), (9000,)),
    ],
)
def test_large_maps_are_made_smaller(shape, given):
    assert evaluation._smaller(shape) == given


def test_a_convolution_on_large_maps_is_measured_on_smaller_ones():
    model = nn.Sequential(make_layer("plain", 16, 16, 1))
    (only,) = evaluation.layer_spectra(model, (16, 32, 32), CPU)
    assert only["inputs"] == [16, 4, 4]
    assert only["sigma_max"] == pytest.approx(
        float(torch.linalg.matrix_norm(model[0].weight.detach()[..., 0, 0], 2)), rel=1e-5
    )


def test_attacked_images_stay_in_the_ball_and_in_the_box():
    part = make_parts().held_out
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).requires_grad_(False).eval()
    attacked = evaluation.attack(model, part.inputs, part.targets, 0.3, CPU)
    assert attacked.shape == part.inputs.shape
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert (attacked - part.inputs).flatten(1).norm(dim=1).max() <= 0.3 * (1 + 1e-5)
    loss = nn.CrossEntropyLoss()
    assert loss(model(attacked), part.targets) > loss(model(part.inputs), part.targets)


def test_the_attack_of_a_linear_model_finds_what_there_is_to_find():
    """Of two classes: the radius within which one can be turned is |f| / |w|, where the box doesn't bind."""
    weight = torch.randn(1, 16, generator=GENERATOR)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False)).requires_grad_(False).eval()
    model[1].weight.copy_(torch.cat([weight, -weight]))
    inputs = 0.5 + 0.05 * torch.randn(20, 1, 4, 4, generator=GENERATOR)
    with torch.no_grad():
        model[1].weight.sub_(model[1].weight.mean(1, keepdim=True))
        labels = model(inputs).argmax(1)
        distances = (inputs.flatten(1) @ model[1].weight[0]).abs() / model[1].weight[0].norm()
    radius = float(distances.median())
    broken = model(evaluation.attack(model, inputs, labels, radius, CPU)).argmax(1) != labels
    assert broken[distances < 0.98 * radius].all()
    assert not broken[distances > radius].any()


def test_the_frozen_copy_computes_the_same_and_shares_nothing():
    model = nn.Sequential(make_layer("aoc_qr", 4, 4, 3), nn.Flatten())
    inputs = torch.rand(3, 4, 4, 4, generator=GENERATOR)
    expected = evaluation.outputs_of(model, inputs, CPU)
    copied = evaluation.frozen_copy(model)
    assert model.training
    assert not copied.training
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    torch.testing.assert_close(copied(inputs), expected, rtol=0, atol=1e-6)
    assert not {id(each) for each in copied.parameters()} & {id(each) for each in model.parameters()}


def test_inference_time_is_the_median_of_an_image_after_a_warm_up(monkeypatch):
    clock, seconds = made_up_clock(monkeypatch), [9.0, 0.02, 5.0, 0.01, 0.02, 7.0]

    class Slow(nn.Module):
        def forward(self, x):
            clock.advance(seconds.pop(0))
            return x

    assert evaluation.inference_time_ms(Slow(), torch.rand(10, 1, 2, 2), CPU) == pytest.approx(2.0)
    assert not seconds


def test_the_largest_quotient_is_that_of_the_pairs_less_rounding():
    x, y = torch.randn(2, 10, 1, 2, 2, generator=GENERATOR)
    y[0] = x[0]  # a pair that doesn't differ
    of_x, of_y = (torch.stack([each.flatten(1).sum(1), each.flatten(1)[:, 0]], 1) for each in (x, y))
    found = evaluation.largest_quotient(of_x, of_y, x, y)
    distances = (y.double() - x.double()).flatten(1).norm(dim=1)[1:]
    expected = float(((of_y.double() - of_x.double()).norm(dim=1)[1:] / distances).max())
    assert expected * (1 - 1e-3) < found < expected
    assert evaluation.largest_quotient(of_x, of_x, x, x) == 0.0


def test_the_measured_constant_is_below_the_true_one_and_close_to_it():
    weight = torch.diag(torch.linspace(0.5, 3, 16))
    model = nn.Sequential(nn.Flatten(), Stated(weight, 3.0)).requires_grad_(False)
    measured = evaluation.measured_constant(model, make_parts().held_out.inputs, CPU)
    assert 2.9 < measured <= 3 * (1 + 1e-9)


def test_the_search_starts_from_random_images_too():
    """Around the examples, which are black, the network is constant."""

    class Bright(nn.Module):
        def forward(self, x):
            return 3 * (x.flatten(1).mean(1, keepdim=True) - 0.3).relu()

    measured = evaluation.measured_constant(Bright(), torch.zeros(10, 1, 4, 4), CPU)
    assert measured == pytest.approx(3 / 4, rel=1e-6)


def test_a_copy_in_float64_computes_the_same_without_rounding():
    model = nn.Sequential(make_layer("cayley", 4, 4, 3), nn.Flatten(), make_layer("bjorck", 64, 5)).eval()
    inputs = torch.rand(8, 4, 4, 4, generator=GENERATOR)
    exact = evaluation.in_float64(evaluation.frozen_copy(model), (4, 4, 4))
    outputs = evaluation.outputs_of(exact, inputs, CPU)
    assert outputs.dtype == torch.float64
    torch.testing.assert_close(outputs, evaluation.outputs_of(model, inputs, CPU).double(), rtol=0, atol=1e-5)
