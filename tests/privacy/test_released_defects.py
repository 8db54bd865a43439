"""Six defects of the released code of clipless training (lip-dp), each as something that ours doesn't do."""

import math
from functools import partial

import pytest
import torch
from privacy_oracles import gradient_norms, unit_rows
from torch import nn

from orthobench.lipschitz.bounds import linear_upper_bound
from orthobench.lipschitz.losses import LOSSES, make_loss
from orthobench.privacy.allocation import noise_stds
from orthobench.privacy.clip_free import ClipFreeOptimizer
from orthobench.privacy.layers import NormBoundedBias, RKOConv2d
from orthobench.privacy.losses import loss_constant, private_loss
from orthobench.privacy.networks import private_mlp
from orthobench.privacy.sensitivity import gradient_bounds


def average_divisor(kernel_size, size):
    """The k by which the average over an image's pixels divides a kernel (Serrurier et al., 2021)."""
    k, a = kernel_size, (kernel_size - 1) / 2
    return (k * size - a * (a + 1)) / size


@pytest.mark.parametrize("padding_mode", ["circular", "zeros"])
def test_1_the_bound_of_a_convolution_is_for_the_parameter_that_is_projected(padding_mode):
    """Theirs was for Theta, while the variable held Theta / k: 2.6 times too small on a constant image."""
    layer = RKOConv2d(1, 8, 3, padding_mode=padding_mode).double()
    model = nn.Sequential(layer)
    optimizer = ClipFreeOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.0),
        model,
        loss_constant=math.sqrt(2),
        input_norm=1.0,
        expected_batch_size=1,
        noise_multiplier=1.0,
        sampling_rate=1.0,
        projection="svd",
    )
    with torch.no_grad():
        layer.weight.mul_(3)
    optimizer.step()
    image = torch.full((1, 1, 28, 28), 1 / 28, dtype=torch.float64)
    layer.zero_grad()
    cotangent = torch.full((1, 8, 28, 28), math.sqrt(2 / 8) / 28, dtype=torch.float64)
    (layer(image) * cotangent).sum().backward()
    norm, bound = float(layer.weight.grad.norm()), optimizer.current_bounds()["0.weight"]
    assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2) <= 1 + 1e-12
    assert 0.95 * bound < norm <= bound


def test_1_the_figures_of_a_constant_image():
    layer = RKOConv2d(1, 1, 3, padding_mode="zeros").double()
    image = torch.full((1, 1, 28, 28), 1 / 28, dtype=torch.float64)
    (layer(image) * image).sum().backward()
    of_the_kernel = 3 * float(layer.weight.grad.norm())
    assert of_the_kernel == pytest.approx(2.860, abs=5e-4)
    assert of_the_kernel / average_divisor(3, 28) == pytest.approx(0.976, abs=5e-4)


@pytest.mark.parametrize(("kernel_size", "size", "theirs"), [(3, 28, 1.024), (5, 32, 1.039)])
def test_2_a_convolution_is_1_lipschitz_not_on_average_only(kernel_size, size, theirs):
    layer = RKOConv2d(1, 1, kernel_size).double()
    layer.weight.data.fill_(1 / kernel_size)  # of norm 1: a constant image is its first singular vector
    assert layer.certified_bound((1, size, size)) == pytest.approx(1, abs=1e-9)
    average = kernel_size / average_divisor(kernel_size, size)
    assert average == pytest.approx(theirs, abs=1e-3 if kernel_size == 3 else 0.2)
    assert average > 1
    for mode in ("circular", "zeros"):
        for seed in range(3):
            layer = RKOConv2d(2, 3, kernel_size, padding_mode=mode).double()
            layer.weight.data.normal_(generator=torch.Generator().manual_seed(seed))
            layer.weight.data /= torch.linalg.matrix_norm(layer.weight.data.flatten(1), 2)
            assert linear_upper_bound(layer, (2, 6, 6)) <= 1 + 1e-9
            assert layer.certified_bound((2, 6, 6)) >= linear_upper_bound(layer, (2, 6, 6)) - 1e-9


def test_3_a_bias_on_maps_counts_for_each_place():
    layer = NormBoundedBias(3, 0.5).double()
    model = nn.Sequential(layer)
    layer.bias.data = torch.tensor([0.5, 0, 0]).double()
    image = torch.zeros(1, 3, 28, 28, dtype=torch.float64)
    image[:, 0] = 1 / 28
    outputs = model(image)
    (outputs * image).sum().backward()
    bound = gradient_bounds(model, 1.0, 1.0, 1, input_shape=(3, 28, 28))["0.bias"]
    assert float(layer.bias.grad.norm()) == pytest.approx(28)
    assert bound == pytest.approx(28)
    assert float(outputs.detach().norm()) == pytest.approx(1 + 28 * 0.5)
    seen = []
    gradient_bounds(model, 1.0, lambda norm: seen.append(norm) or 1.0, 1, input_shape=(3, 28, 28))
    assert seen[-1] == pytest.approx(1 + 28 * 0.5)


def test_4_clipping_the_gradient_of_the_loss_lowers_the_noise():
    model = private_mlp(0, zero_last=False)
    sizes = {name: each.numel() for name, each in model.named_parameters()}
    stds = {}
    for clip in (None, 10.0, math.sqrt(2), 0.1, 0.01):
        bounds = gradient_bounds(model, 1.0, math.sqrt(2), 2000, loss_gradient_clip=clip)
        stds[clip] = next(iter(noise_stds(bounds, sizes, 1.0).values()))
    assert stds[None] == stds[10.0] == stds[math.sqrt(2)]
    assert stds[0.1] == pytest.approx(stds[None] * 0.1 / math.sqrt(2))
    assert stds[0.01] == pytest.approx(stds[0.1] / 10)
    # And the gradients are within it.
    inputs, targets = unit_rows(20, 64, dtype=torch.float32), torch.arange(20) % 10
    criterion = make_loss("cross_entropy", temperature=0.1, margin=0.0)
    losses = lambda o, i: private_loss(criterion, o, targets[i : i + 1], 2000, 0.1)  # noqa: E731
    norms = gradient_norms(model, losses, inputs, 1)
    bounds = gradient_bounds(model, 1.0, math.sqrt(2), 2000, loss_gradient_clip=0.1)
    for name, bound in bounds.items():
        assert 0.9 * bound < norms[name].max() <= bound


@pytest.mark.parametrize("name", [each for each in LOSSES if not LOSSES[each].separable])
def test_5_losses_of_the_whole_batch_are_refused(name):
    criterion = make_loss(name)
    with pytest.raises(ValueError, match=type(criterion).__name__):
        loss_constant(criterion, 10)
    with pytest.raises(ValueError, match="separable"):
        private_loss(criterion, torch.zeros(2, 10), torch.zeros(2, dtype=torch.int64), 2)


@pytest.mark.parametrize("name", [each for each in LOSSES if LOSSES[each].separable])
@pytest.mark.parametrize("scale", [0.01, 0.5, 2.0, 100.0])
def test_6_the_constant_of_a_loss_holds_for_outputs_of_any_norm(name, scale):
    """Theirs of the cosine loss was that of a floor squared: too small for norms above 1."""
    criterion, classes = make_loss(name), 5
    outputs = unit_rows(200, classes, norm=scale).requires_grad_()
    targets = torch.arange(200) % classes
    (gradient,) = torch.autograd.grad(criterion.per_example(outputs, targets).sum(), outputs)
    largest = float(gradient.norm(dim=1).max())
    for constant in (loss_constant(criterion, classes), partial(loss_constant, criterion, classes)(scale)):
        assert largest <= constant * (1 + 1e-9)
