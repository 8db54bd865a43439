"""No example's gradient is above its bound, for any rule, on random, trained and adversarial weights and inputs."""

import copy
import math
from functools import partial

import pytest
import torch
from privacy_oracles import gradient_norms, unit_rows, worst_ratios
from torch import nn

from orthobench.lipschitz.bounds import Residual
from orthobench.lipschitz.layers import MaxMin, make_layer
from orthobench.lipschitz.losses import LOSSES, CrossEntropy, make_loss
from orthobench.models.lipschitz_networks import FirstChannels, ZeroFeatures, ZeroPadding
from orthobench.models.pixels import PixelUnshuffle
from orthobench.privacy.layers import Centring, ClipInput, L2NormPooling, MeanResidual, NormBoundedBias, RKOConv2d
from orthobench.privacy.losses import loss_constant
from orthobench.privacy.networks import private_convnet, private_mlp
from orthobench.privacy.sensitivity import SLACK, gradient_bounds

IMAGE, MAP = (2, 4, 4), (4, 4, 4)


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


def convolve(inputs=2, outputs=4, kernel_size=3, **options):
    return RKOConv2d(inputs, outputs, kernel_size, **options)


def with_bias(channels, norm):
    layer = NormBoundedBias(channels, norm)
    layer.bias.data = norm * torch.nn.functional.normalize(torch.arange(1.0, channels + 1), dim=0)
    return layer


def images(*layers, outputs):
    """A convolution, the layers, and a linear head, on images of IMAGE."""
    return nn.Sequential(convolve(), *layers, nn.Flatten(), linear(outputs, 3))


SHARED = linear(6, 6)
NETWORKS = {
    "linear": (lambda: nn.Sequential(linear(6, 3)), (6,)),
    "deep": (lambda: nn.Sequential(linear(6, 8), MaxMin(), linear(8, 8), nn.ReLU(), linear(8, 3)), (6,)),
    "tanh": (lambda: nn.Sequential(linear(6, 8), nn.Tanh(), nn.Identity(), linear(8, 3)), (6,)),
    "centred": (lambda: nn.Sequential(linear(6, 8), Centring(), linear(8, 3)), (6,)),
    "clipped inputs": (lambda: nn.Sequential(ClipInput(0.5), linear(6, 3)), (6,)),
    "shared": (lambda: nn.Sequential(SHARED, MaxMin(), SHARED, linear(6, 3)), (6,)),
    "residual": (lambda: nn.Sequential(Residual(nn.Sequential(linear(6, 6), MaxMin())), linear(6, 3)), (6,)),
    "mean residual": (lambda: nn.Sequential(MeanResidual(linear(6, 6)), linear(6, 3)), (6,)),
    "bias": (lambda: nn.Sequential(linear(6, 4), with_bias(4, 0.7), MaxMin(), linear(4, 3)), (6,)),
    "padded features": (lambda: nn.Sequential(ZeroFeatures(9), linear(9, 3)), (6,)),
    "circular": (lambda: images(MaxMin(), outputs=64), IMAGE),
    "zeros": (lambda: nn.Sequential(convolve(padding_mode="zeros"), nn.Flatten(), linear(64, 3)), IMAGE),
    "stride": (lambda: nn.Sequential(convolve(stride=2), nn.Flatten(), linear(16, 3)), IMAGE),
    "stride and zeros": (
        lambda: nn.Sequential(convolve(kernel_size=5, stride=2, padding_mode="zeros"), nn.Flatten(), linear(16, 3)),
        IMAGE,
    ),
    "bias on maps": (lambda: images(with_bias(4, 0.3), outputs=64), IMAGE),
    "centred maps": (lambda: images(Centring(), outputs=64), IMAGE),
    "norm pooling": (lambda: images(L2NormPooling(2), outputs=16), IMAGE),
    "max pooling": (lambda: images(nn.MaxPool2d(2), outputs=16), IMAGE),
    "overlapping max pooling": (lambda: images(nn.MaxPool2d(2, 1), outputs=36), IMAGE),
    "mean pooling": (lambda: images(nn.AvgPool2d(2), outputs=16), IMAGE),
    "unshuffled": (lambda: images(nn.PixelUnshuffle(2), FirstChannels(8), outputs=32), IMAGE),
    "unshuffled, also of no example": (lambda: images(PixelUnshuffle(2), FirstChannels(8), outputs=32), IMAGE),
    "padded images": (
        lambda: nn.Sequential(ZeroPadding(4, 6), convolve(4, 4), nn.Flatten(), linear(144, 3)),
        IMAGE,
    ),
}  # fmt: skip


def network(name, seed=0):
    """A network in float64, with weights from a normal distribution, and the shape of its examples."""
    make, shape = NETWORKS[name]
    model = copy.deepcopy(make()).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(generator=generator).div_(parameter.shape[0] ** 0.5)
    return model, shape


@pytest.mark.parametrize("name", NETWORKS)
def test_no_search_finds_a_gradient_above_its_bound(name):
    model, shape = network(name)
    bounds = gradient_bounds(model, 1.5, 1.0, 1, input_shape=shape)
    assert set(bounds) == dict(model.named_parameters()).keys()
    worst = worst_ratios(model, bounds, shape, 1.5)
    assert set(worst) == set(bounds)
    assert max(worst.values()) <= 1
    assert max(worst.values()) > 0.3  # a search that finds nothing would pass whatever the bound


@pytest.mark.parametrize("name", ["deep", "norm pooling", "bias on maps"])
@pytest.mark.parametrize("loss", [each for each in LOSSES if LOSSES[each].separable])
def test_no_example_is_above_its_bound_with_any_loss(name, loss):
    model, shape = network(name)
    criterion = make_loss(loss)
    inputs, targets = unit_rows(12, *shape, norm=1.5), torch.arange(12) % 3
    constant = partial(loss_constant, criterion, 3)
    bounds = gradient_bounds(model, 1.5, constant, 4, input_shape=shape)
    norms = gradient_norms(model, lambda o, i: criterion.per_example(o, targets[i : i + 1]).sum(), inputs, 4)
    for parameter, bound in bounds.items():
        assert norms[parameter].max() <= bound


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_no_example_is_above_its_bound_after_training(temperature):
    model, criterion = private_mlp(0, features=12, widths=(12, 12), outputs=4).double(), CrossEntropy(temperature, 0.0)
    inputs, targets = unit_rows(40, 12), torch.randint(4, (40,), generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for step in range(60):
        if step % 15 == 0:
            bounds = gradient_bounds(model, 1.0, partial(loss_constant, criterion, 4), 40)
            norms = gradient_norms(model, lambda o, i: criterion.per_example(o, targets[i : i + 1]).sum(), inputs, 40)
            for name, bound in bounds.items():
                assert norms[name].max() <= bound
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()


def test_two_orthogonal_layers_have_the_bounds_of_the_formula():
    model = nn.Sequential(linear(4, 6), MaxMin(), linear(6, 3)).double()
    for layer in (model[0], model[2]):
        nn.init.orthogonal_(layer.weight)
    for size, expected in ((1, 2.8284), (8, 0.35355)):
        bounds = gradient_bounds(model, 2.0, math.sqrt(2), size)
        assert list(bounds.values()) == pytest.approx([expected] * 2, rel=1e-4)
    assert math.hypot(*bounds.values()) == pytest.approx(0.5, rel=1e-4)


def test_gradients_of_a_norm_preserving_network_are_as_large_as_their_cotangent_times_the_input():
    model = private_mlp(3, features=10, widths=(10, 10), outputs=10, zero_last=False).double()
    criterion = CrossEntropy(1, 0)
    for parameter in model.parameters():
        nn.init.orthogonal_(parameter)
    inputs, targets = unit_rows(10, 10, norm=2.0), torch.arange(10)
    norms = gradient_norms(model, lambda o, i: criterion.per_example(o, targets[i : i + 1]).sum(), inputs, 1)
    residual = model(inputs).softmax(1) - torch.eye(10)
    expected = 2 * residual.norm(dim=1).detach()
    for each in norms.values():
        assert torch.allclose(each, expected, rtol=1e-12)


def test_bounds_are_attained():
    """On orthogonal layers: the input along any direction, the gradient of the outputs along its image."""
    model = private_mlp(0, features=8, widths=(8, 8), outputs=8, zero_last=False).double()
    worst = worst_ratios(model, gradient_bounds(model, 1.0, 1.0, 1), (8,), 1.0, steps=1)
    assert min(worst.values()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_constant_image_attains_the_bound_of_a_circular_convolution(kernel_size):
    layer = convolve(1, 1, kernel_size).double()
    image = torch.full((1, 1, 8, 8), 1 / 8, dtype=torch.float64)
    (layer(image) * image).sum().backward()
    bound = gradient_bounds(nn.Sequential(layer), 1.0, 1.0, 1)["0.weight"]
    assert float(layer.weight.grad.norm()) == pytest.approx(1, rel=1e-12)
    assert bound == pytest.approx(1, rel=1e-9)


def test_bounds_are_divided_by_the_expected_batch_size_and_follow_the_norms():
    model, _ = network("deep")
    one, ten = (gradient_bounds(model, 1.0, 1.0, size) for size in (1, 10))
    doubled = gradient_bounds(model, 1.0, 1.0, 1, norms=dict.fromkeys(one, 2.0))
    for name in one:
        assert ten[name] == pytest.approx(one[name] / 10)
        assert doubled[name] == pytest.approx(4)  # the product of the two norms that aren't its own


def test_frozen_parameters_are_left_out_but_count():
    model, _ = network("deep")
    every = gradient_bounds(model, 1.0, 1.0, 1)
    model[2].weight.requires_grad_(False)
    assert gradient_bounds(model, 1.0, 1.0, 1) == {name: every[name] for name in every if name != "2.weight"}


def test_a_residual_branch_adds_to_both_directions():
    model = nn.Sequential(linear(4, 4), Residual(linear(4, 4)), linear(4, 4)).double()
    for parameter in model.parameters():
        nn.init.eye_(parameter)
    bounds = gradient_bounds(model, 1.0, 1.0, 1)
    assert bounds["0.weight"] == pytest.approx(2, rel=1e-9)
    assert bounds["1.branch.weight"] == pytest.approx(1, rel=1e-9)
    assert bounds["2.weight"] == pytest.approx(2, rel=1e-9)


@pytest.mark.parametrize("width", [64, 512])
def test_rounding_in_float32_is_a_small_part_of_the_slack(width):
    model = private_mlp(0, features=width, widths=(width, width), outputs=10, zero_last=False)
    exact = copy.deepcopy(model).double()
    for layer, same in zip(model, exact, strict=True):
        if isinstance(layer, nn.Linear):
            U, _, Vh = torch.linalg.svd(same.weight.detach(), full_matrices=False)
            layer.weight.data, same.weight.data = (U @ Vh).float(), (U @ Vh).float().double()
    bound = max(gradient_bounds(exact, 1.0, 1.0, 1).values())
    inputs = unit_rows(4, width, dtype=torch.float32)
    outputs = model(inputs).detach()
    directions = outputs / outputs.norm(dim=1, keepdim=True)  # aligned with the Jacobian's row space
    norms = gradient_norms(model, lambda o, i: (o * directions[i]).sum(), inputs, 1)
    assert max(float(each.max()) for each in norms.values()) <= bound * (1 + SLACK[torch.float32] / 10)


REFUSED = {
    "batch normalisation": (nn.Sequential(linear(4, 4), nn.BatchNorm1d(4)), "1.*BatchNorm1d.*Centring"),
    "layer normalisation": (nn.Sequential(nn.LayerNorm(4)), "0.*LayerNorm"),
    "a bias": (nn.Sequential(nn.Linear(4, 4)), "0.*bias=False.*NormBoundedBias"),
    "dropout": (nn.Sequential(linear(4, 4), nn.Dropout(0.5)), "1.*Dropout.*leave it out"),
    "torch's convolution": (nn.Sequential(nn.Conv2d(1, 1, 3)), "0.*Conv2d.*RKOConv2d"),
    "torch's norm pooling": (nn.Sequential(linear(4, 4), nn.LPPool2d(2, 2)), "1.*LPPool2d.*L2NormPooling"),
    "sigmoid": (nn.Sequential(linear(4, 4), nn.Sequential(nn.Sigmoid())), "1.0.*Sigmoid.*no rule"),
    "a parametrised layer": (nn.Sequential(make_layer("bjorck", 4, 4)), "0.*parametrised"),
    "flattened examples": (nn.Sequential(nn.Flatten(0), linear(4, 4)), "start_dim.*0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_layer_without_a_rule_is_refused_by_name(case):
    model, message = REFUSED[case]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        gradient_bounds(model, 1.0, 1.0, 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input_norm": math.inf}, ValueError, "ClipInput"),
        ({"input_norm": -1.0}, ValueError, "input_norm is -1.0"),
        ({"input_norm": math.nan}, ValueError, "input_norm is nan"),
        ({"loss_constant": math.inf}, ValueError, "loss_constant is inf"),
        ({"loss_constant": "large"}, TypeError, "loss_constant"),
        ({"expected_batch_size": 0}, ValueError, "expected_batch_size is 0"),
        ({"loss_gradient_clip": 0.0}, ValueError, "loss_gradient_clip is 0.0"),
        ({"model": nn.Sequential(nn.Linear(4, 4, bias=False).half())}, TypeError, "float16.*float32 or"),
        ({"model": nn.Sequential(nn.ReLU())}, TypeError, "none"),
        ({"model": nn.Sequential(NormBoundedBias(4))}, ValueError, "input_shape"),
        ({"model": nn.Sequential(convolve(), nn.MaxPool2d(2))}, ValueError, "input_shape"),
    ],
)
def test_bad_arguments_are_refused_with_the_remedy(change, error, message):
    arguments = {"model": nn.Sequential(linear(4, 4)), "input_norm": 1.0, "loss_constant": 1.0}
    arguments["expected_batch_size"] = 2
    with pytest.raises(error, match=f"(?s){message}"):
        gradient_bounds(**arguments | change)


def test_weights_that_are_not_finite_are_refused():
    model = nn.Sequential(linear(4, 4))
    model[0].weight.data[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"0\.weight.*diverged"):
        gradient_bounds(model, 1.0, 1.0, 1)


def test_an_input_that_is_clipped_needs_no_bound():
    model = nn.Sequential(ClipInput(2.0), linear(4, 4)).double()
    nn.init.eye_(model[1].weight)
    assert gradient_bounds(model, math.inf, 1.0, 1)["1.weight"] == pytest.approx(2)
    assert gradient_bounds(model, 0.5, 1.0, 1)["1.weight"] == pytest.approx(0.5)


def test_the_convolutional_network_has_bounds():
    model = private_convnet(0, zero_last=False).double()
    bounds = gradient_bounds(model, 1.0, 1.0, 1)
    worst = worst_ratios(model, bounds, (1, 8, 8), 1.0, steps=8)
    assert 0.05 < max(worst.values()) <= 1
