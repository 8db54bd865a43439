"""Constants of losses are suprema; clipping the gradient of a loss is clipping each example, on a linear layer."""

import math

import pytest
import torch
from privacy_oracles import unit_rows
from torch import nn

from orthobench.lipschitz.losses import LOSSES, CrossEntropy, MulticlassHinge, make_loss
from orthobench.privacy.losses import clip_loss_gradient, loss_constant, private_loss

FIGURES = {0.25: 0.971, 0.5: 0.989, 1: 1.015, 2: 1.081, 4: 1.326, 8: 1.413, 16: 1.414}


@pytest.mark.parametrize("radius", FIGURES)
def test_the_constant_on_bounded_outputs_has_the_known_values(radius):
    for temperature in (1.0, 0.125):
        criterion = CrossEntropy(temperature, 0.0)
        assert loss_constant(criterion, 10, radius * temperature) == pytest.approx(FIGURES[radius], abs=8e-4)


def largest_found(radius, margin, classes, temperature, steps=120, starts=24):
    """The largest gradient norm that gradient ascent finds among outputs of a norm."""
    z = torch.randn(starts, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z[0, 0], z[0, 1] = -5, 5
    z.requires_grad_()
    target = torch.eye(classes, dtype=torch.float64)[0]
    search = torch.optim.Adam([z], lr=0.05)
    best = 0.0
    for _ in range(steps):
        outputs = radius * z / z.norm(dim=1, keepdim=True)
        norms = (((outputs - margin * target) / temperature).softmax(1) - target).norm(dim=1)
        best = max(best, float(norms.detach().max()))
        search.zero_grad()
        (-norms.sum()).backward()
        search.step()
    return best


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize(("radius", "margin", "temperature"), [(0.3, 0, 1), (3, 0, 1), (2, 1.5, 0.5), (1, 0.4, 0.25)])
def test_the_constant_is_the_largest_that_a_search_finds(radius, margin, temperature, classes):
    constant = loss_constant(CrossEntropy(temperature, margin), classes, radius)
    found = largest_found(radius, margin, classes, temperature)
    assert found <= constant
    assert constant <= found * (1 + 1e-3)


def test_the_constant_grows_with_the_norm_to_that_of_all_outputs():
    criterion = CrossEntropy(0.3, 0.2)
    constants = [loss_constant(criterion, 7, radius) for radius in (0, 0.01, 0.1, 1, 1.0002, 3, 10, 1e4)]
    assert constants == sorted(constants)
    assert constants[-1] == loss_constant(criterion, 7) == math.sqrt(2)


def test_other_losses_have_their_own_constant():
    criterion = MulticlassHinge()
    assert loss_constant(criterion, 4) == loss_constant(criterion, 4, 0.1) == math.sqrt(3 / 4)
    assert loss_constant(make_loss("soft_hkr"), 4) < math.inf


def test_a_loss_without_a_constant_is_refused():
    with pytest.raises(TypeError, match="CrossEntropyLoss"):
        loss_constant(nn.CrossEntropyLoss(), 10)
    with pytest.raises(ValueError, match="classes is 1"):
        loss_constant(CrossEntropy(), 1)
    with pytest.raises(ValueError, match="output_norm is -1"):
        loss_constant(CrossEntropy(), 3, -1.0)


def test_gradients_are_clipped_example_by_example_and_outputs_are_not():
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    cotangents = unit_rows(5, 3) * torch.tensor([0.0, 0.5, 1.0, 2.0, 1e6]).double()[:, None]
    clipped = clip_loss_gradient(outputs, 1.0)
    assert torch.equal(clipped, outputs)
    (gradient,) = torch.autograd.grad(clipped, outputs, cotangents)
    assert gradient.norm(dim=1).tolist() == pytest.approx([0, 0.5, 1, 1, 1])
    assert torch.equal(gradient[:2], cotangents[:2])
    for value, error in ((0.0, ValueError), (-1.0, ValueError), (math.nan, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="maximum"):
            clip_loss_gradient(outputs, value)


def problem(dtype=torch.float64):
    layer = nn.Linear(12, 5, bias=False, dtype=dtype)
    torch.nn.init.orthogonal_(layer.weight)
    inputs, targets = unit_rows(30, 12, dtype=dtype), torch.arange(30) % 5
    return layer, inputs, targets, CrossEntropy(0.2, 0.0)


@pytest.mark.parametrize("clip", [1e-3, 0.1, 0.7, 10.0])
def test_on_a_linear_layer_it_is_clipping_each_examples_gradient(clip):
    layer, inputs, targets, criterion = problem()
    private_loss(criterion, layer(inputs), targets, 20, clip).backward()
    expected = torch.zeros_like(layer.weight)
    for x, y in zip(inputs.split(1), targets.split(1), strict=True):
        (gradient,) = torch.autograd.grad(criterion.per_example(layer(x), y).sum(), layer.weight)
        expected += gradient * min(1, clip / float(gradient.norm())) / 20
    assert (layer.weight.grad - expected).norm() <= 1e-12 * expected.norm()


@pytest.mark.parametrize("clip", [0.01, 0.1, 0.7])
def test_on_a_linear_layer_it_is_what_opacus_does(clip):
    pytest.importorskip("opacus")
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    layer, inputs, targets, criterion = problem()
    private_loss(criterion, layer(inputs), targets, 20, clip).backward()
    ours = layer.weight.grad.clone()
    layer.weight.grad = None
    wrapped = GradSampleModule(nn.Sequential(layer), loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(layer.parameters(), lr=1.0), noise_multiplier=0.0, max_grad_norm=clip, expected_batch_size=20
    )
    before = layer.weight.detach().clone()
    criterion.per_example(wrapped(inputs), targets).sum().backward()
    optimizer.step()
    # Opacus clips to C g / (|g| + 1e-6).
    assert (before - layer.weight.detach() - ours).norm() <= 1e-6 / clip * ours.norm()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_loss_is_the_sum_over_the_expected_size(count):
    layer, inputs, targets, criterion = problem()
    loss = private_loss(criterion, layer(inputs[:count]), targets[:count], 4)
    expected = sum(float(criterion(layer(inputs[i : i + 1]), targets[i : i + 1])) for i in range(count)) / 4
    assert float(loss) == pytest.approx(expected)
    loss.backward()
    assert layer.weight.grad is not None
    assert bool(layer.weight.grad.any()) == (count > 0)


@pytest.mark.parametrize("name", [each for each in LOSSES if LOSSES[each].separable])
def test_one_example_more_changes_the_gradient_by_less_than_its_bound(name):
    layer, inputs, targets, _ = problem()
    criterion = make_loss(name)
    gradients = []
    for count in (29, 30):
        (gradient,) = torch.autograd.grad(
            private_loss(criterion, layer(inputs[:count]), targets[:count], 10), layer.weight
        )
        gradients.append(gradient)
    assert (gradients[1] - gradients[0]).norm() <= loss_constant(criterion, 5) / 10 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, None), "expected_batch_size is 0"), ((4, 0.0), "loss_gradient_clip is 0.0"), ((4, -1), "loss_gradient_clip")],
)
def test_bad_sizes_are_refused(arguments, message):
    layer, inputs, targets, criterion = problem()
    with pytest.raises(ValueError, match=message):
        private_loss(criterion, layer(inputs), targets, *arguments)
