"""Bounds of networks, and each rule for a layer, against Jacobians at random points."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.modules import module as hooks

from orthobench.lipschitz.bounds import NetworkBound, Residual, linear_upper_bound, lower_bound, upper_bound
from orthobench.lipschitz.bounds.pooling import POOLINGS, pooling_constant


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def jacobian(function, point):
    rows = torch.func.jacrev(lambda x: function(x[None])[0])(point)
    return rows.reshape(-1, point.numel())


def largest_slope(function, shape, points=20, scale=1.0):
    """The largest singular value of the Jacobian at random points."""
    slopes = [torch.linalg.matrix_norm(jacobian(function, scale * normal(*shape, seed=s)), 2) for s in range(points)]
    return max(slopes).item()


def constant(layer, shape):
    ((_, bound),) = upper_bound(layer, shape).layers
    return bound


# --- activations -----------------------------------------------------------------------------------------------------

ACTIVATIONS = [
    (nn.ReLU(), 1),
    (nn.ReLU6(), 1),
    (nn.Hardtanh(), 1),
    (nn.Tanh(), 1),
    (nn.Softsign(), 1),
    (nn.LogSigmoid(), 1),
    (nn.CELU(0.3), 1),
    (nn.Identity(), 1),
    (nn.Dropout(0.5), 1),
    (nn.Sigmoid(), 0.25),
    (nn.LeakyReLU(0.1), 1),
    (nn.LeakyReLU(-3.0), 3),
    (nn.PReLU(4, 1.5), 1.5),
    (nn.ELU(2.0), 2),
    (nn.ELU(0.5), 1),
]


@pytest.mark.parametrize(("layer", "expected"), ACTIVATIONS, ids=lambda each: str(each))
def test_activations_have_their_largest_slope(layer, expected):
    assert constant(layer, (4, 3)) == pytest.approx(expected)
    points = torch.linspace(-12, 12, 4803, dtype=torch.float64)[:, None, None].expand(-1, 4, 1).clone().requires_grad_()
    (slopes,) = torch.autograd.grad(layer.eval().double()(points).sum(), points)
    assert slopes.abs().max().item() == pytest.approx(expected, rel=1e-4, abs=0)
    assert slopes.abs().max() <= expected * (1 + 1e-7)


def test_orthogoniums_layers():
    activations = pytest.importorskip("orthogonium.layers.custom_activations")
    normalization = pytest.importorskip("orthogonium.layers.normalization")
    for layer, expected in (
        (activations.MaxMin(), 1),
        (activations.Abs(), 1),
        (activations.SoftHuber(), 1),
        (activations.HouseHolder(4), math.sqrt(0.5)),
        (normalization.LayerCentering2D(4), 1),
        (normalization.BatchCentering2D(4), 1),
    ):
        assert constant(layer, (4, 3, 3)) == pytest.approx(expected, rel=1e-5)
        slope = largest_slope(layer.double().eval(), (4, 3, 3))
        assert slope <= expected * (1 + 1e-9)
        assert slope >= expected * (1 - 1e-3)


def test_maxmin_needs_pairs_of_channels():
    activations = pytest.importorskip("orthogonium.layers.custom_activations")
    from orthobench.lipschitz.layers import MaxMin

    for layer in (activations.MaxMin(), MaxMin()):
        assert constant(layer, (6, 3, 3)) == 1
        assert constant(layer, (6,)) == 1
        with pytest.raises(ValueError, match=r"'MaxMin'.*5"):
            upper_bound(layer, (5, 3, 3))


def test_batch_normalisation_has_its_largest_scale_in_eval_mode():
    layer = nn.BatchNorm2d(3).double()
    layer.running_var.copy_(torch.tensor([0.5, 2.0, 4.0]))
    layer.weight.data = torch.tensor([0.1, -3.0, 1.0]).double()
    expected = largest_slope(layer.eval(), (3, 2, 2), points=1)
    assert constant(layer.train(), (3, 2, 2)) == pytest.approx(expected)
    with pytest.raises(ValueError, match="track_running_stats"):
        upper_bound(nn.BatchNorm2d(3, track_running_stats=False), (3, 2, 2))


# --- pooling ---------------------------------------------------------------------------------------------------------

WINDOWS = [
    {"kernel_size": k, "stride": s, "padding": p, "ceil_mode": c}
    for k, s, p, c in itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1), (False, True))
    if 2 * p <= k
]
SIZES = [(4, 4), (5, 7)]


def windows_of(layer, size):
    """Which pixels are in which window, by asking a maximum pool for one pixel at a time."""
    count = math.prod(size)
    # Below all padding counts as minus infinity, so that a lone 1 is seen by the windows that hold it.
    images = torch.eye(count, dtype=torch.float64).view(count, 1, *size)
    return layer(images).flatten(1)


@pytest.mark.parametrize("size", SIZES)
def test_maximum_pooling_has_the_root_of_the_overlap(size):
    for options, dilation in itertools.product(WINDOWS, (1, 2)):
        layer = nn.MaxPool2d(**options, dilation=dilation)
        if min(size) + 2 * options["padding"] < dilation * (options["kernel_size"] - 1) + 1:
            continue
        overlap = windows_of(layer, size).sum(1).max().item()
        assert constant(layer, (1, *size)) == pytest.approx(math.sqrt(overlap)), (options, dilation)
        # Attained by a lone pixel in most windows; no random point exceeds it.
        assert largest_slope(layer, (1, *size), points=3) <= math.sqrt(overlap) + 1e-9
        peak = 1e-3 * normal(1, *size).clamp(-1, 1)
        peak.view(-1)[windows_of(layer, size).sum(1).argmax()] = 1
        assert torch.linalg.matrix_norm(jacobian(layer, peak), 2).item() == pytest.approx(math.sqrt(overlap))


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_disjoint_windows_make_maximum_and_norm_pooling_1_lipschitz(kernel):
    for layer in (nn.MaxPool2d(kernel), nn.LPPool2d(2, kernel), nn.MaxPool2d(kernel, stride=kernel + 1)):
        assert constant(layer, (2, 6, 6)) == 1
        assert largest_slope(layer, (2, 6, 6), points=3) == pytest.approx(1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", [2, 4])
def test_norm_pooling_has_the_root_of_the_weighted_overlap(size, order):
    for kernel, stride, ceil_mode in itertools.product((1, 2, 3, 4), (1, 2, 3), (False, True)):
        layer = nn.LPPool2d(order, kernel, stride, ceil_mode)
        # What a lone 1 gives is the root of its weight in each window.
        weights = windows_of(layer, size).square().sum(1)
        expected = math.sqrt(weights.max().item())
        assert constant(layer, (1, *size)) == pytest.approx(expected), layer
        assert ceil_mode or expected == pytest.approx(
            math.sqrt(windows_of(nn.MaxPool2d(kernel, stride), size).sum(1).max())
        )
        assert largest_slope(layer, (1, *size), points=3) <= expected + 1e-9
        peak = 1e-4 * normal(1, *size)
        peak.view(-1)[weights.argmax()] = 1
        assert torch.linalg.matrix_norm(jacobian(layer, peak), 2).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_mean_pooling_is_exact(size):
    for options, include, divisor in itertools.product(WINDOWS, (True, False), (None, 3)):
        layer = nn.AvgPool2d(**options, count_include_pad=include, divisor_override=divisor)
        expected = torch.linalg.matrix_norm(jacobian(layer, normal(2, *size)), 2).item()
        assert constant(layer, (2, *size)) == pytest.approx(expected), layer


@pytest.mark.parametrize("kernel", [2, 3])
def test_the_mean_of_disjoint_windows_of_k_pixels_has_one_over_root_k(kernel):
    assert constant(nn.AvgPool2d(kernel), (2, 6, 6)) == pytest.approx(1 / kernel)


@pytest.mark.parametrize("size", [1, 2, 3, 5, (2, 3), (None, 2)])
def test_adaptive_pooling(size):
    mean, maximum = nn.AdaptiveAvgPool2d(size), nn.AdaptiveMaxPool2d(size)
    expected = torch.linalg.matrix_norm(jacobian(mean, normal(1, 5, 7)), 2).item()
    assert constant(mean, (1, 5, 7)) == pytest.approx(expected)
    overlap = windows_of(maximum, (5, 7)).sum(1).max().item()
    assert constant(maximum, (1, 5, 7)) == pytest.approx(math.sqrt(overlap))


def test_pooling_in_one_and_three_dimensions():
    assert constant(nn.MaxPool1d(3, 1), (2, 8)) == pytest.approx(math.sqrt(3))
    assert constant(nn.MaxPool3d(3, 2, 1), (2, 5, 5, 5)) == pytest.approx(math.sqrt(8))
    assert constant(nn.LPPool1d(2, 3, 2), (2, 9)) == pytest.approx(math.sqrt(2))
    assert constant(nn.AvgPool3d(2), (1, 4, 4, 4)) == pytest.approx(8**-0.5)
    assert {kind.__name__[-2] for kind in POOLINGS} == {"1", "2", "3"}


def test_pooling_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="norm_type of LPPool2d must be at least 2 and finite, got 1"):
        upper_bound(nn.LPPool2d(1, 2), (1, 4, 4))
    with pytest.raises(ValueError, match="3 dimensions"):
        pooling_constant(nn.MaxPool2d(2), (4, 4))


# --- moving entries --------------------------------------------------------------------------------------------------


class Sliced(nn.Module):
    def forward(self, images):
        return images[:, :2, 1:, ::2]


class Twice(nn.Module):
    def forward(self, images):
        return torch.cat([images, images.flip(1), 0 * images + 5], 1)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Flatten(), 1),
        (nn.Unflatten(1, (2, 2)), 1),
        (nn.PixelUnshuffle(2), 1),
        (nn.PixelShuffle(2), 1),
        (nn.ChannelShuffle(2), 1),
        (nn.ZeroPad2d(1), 1),
        (nn.ConstantPad2d(1, 7.0), 1),
        (nn.CircularPad2d(1), 2),
        (nn.ReflectionPad2d(1), 2),
        (nn.ReplicationPad2d(1), 2),
        (nn.UpsamplingNearest2d(scale_factor=2), 2),
        (Sliced(), 1),
        (Twice(), math.sqrt(2)),
    ],
)
def test_moving_entries_has_the_root_of_how_often_one_is_repeated(layer, expected):
    shape = (4, 4, 4)
    slope = torch.linalg.matrix_norm(jacobian(layer, normal(*shape)), 2).item()
    assert constant(layer, shape) == pytest.approx(slope)
    assert slope <= expected + 1e-9


class Sorted(nn.Module):
    """Moves entries too, but not all inputs' alike."""

    def forward(self, inputs):
        return inputs.sort(1).values


class Largest(nn.Module):
    def forward(self, inputs):
        return inputs.max(1, keepdim=True).values


@pytest.mark.parametrize("layer", [Sorted(), Largest(), nn.GELU(), nn.Softmax(1), nn.GroupNorm(2, 4), nn.Hardshrink()])
def test_an_unknown_module_is_refused_by_name(layer):
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(layer))
    name = type(layer).__name__
    with pytest.raises(ValueError, match=rf"layer '1.0' \({name}\) on shape \(4,\): no bound is known"):
        upper_bound(model, (4,))


def test_a_model_with_a_forward_pass_of_its_own_is_refused():
    class Scaled(nn.Sequential):
        def forward(self, inputs):
            return 3 * super().forward(inputs)

    with pytest.raises(ValueError, match="Scaled"):
        upper_bound(Scaled(nn.Linear(3, 3), nn.ReLU()), (3,))


def of_torchlip(name, forward, base=nn.Module):
    """Make a class that is called like one of deel-torchlip's, which tests do without, and computes what that does."""
    return type(name, (base,), {"forward": forward, "__module__": "deel.torchlip.modules.activation"})


def group_sort(module, x):
    size = module.group_size or x.shape[1]
    return x.unflatten(1, (-1, size)).sort(2).values.flatten(1, 2) * module._coefficient_lip


def householder(module, x):
    x, y = x.chunk(2, 1)
    theta = module.theta.view(1, -1, *[1] * (x.ndim - 2))
    behind = x * (theta / 2).sin() > y * (theta / 2).cos()
    a = torch.where(behind, x * theta.cos() + y * theta.sin(), x)
    return torch.cat([a, torch.where(behind, x * theta.sin() - y * theta.cos(), y)], 1)


GroupSort = of_torchlip("GroupSort", group_sort)
FullSort = type("FullSort", (GroupSort,), {"__module__": "deel.torchlip.modules.activation"})
HouseHolder = of_torchlip("HouseHolder", householder)
HouseHolder.theta = torch.linspace(0.3, 4, 4, dtype=torch.float64)
TorchlipMaxMin = of_torchlip(
    "MaxMin", lambda module, x: torch.cat([x.relu(), (-x).relu()], 1) * module._coefficient_lip
)
LPReLU = of_torchlip(
    "LPReLU",
    lambda module, x: nn.functional.prelu(x, module.weight.clamp(-module._coefficient_lip, module._coefficient_lip)),
    nn.PReLU,
)
L2NormPool = of_torchlip(
    "ScaledL2NormPool2d", lambda module, x: nn.LPPool2d.forward(module, x) * module._coefficient_lip, nn.LPPool2d
)
AdaptiveL2NormPool = of_torchlip(
    "ScaledAdaptativeL2NormPool2d", lambda module, x: x.norm(dim=(2, 3), keepdim=True) * module._coefficient_lip
)


@pytest.mark.parametrize(
    ("kind", "arguments", "settings", "shape", "expected"),
    [
        (GroupSort, (), {"group_size": 4, "_coefficient_lip": 1.0}, (8,), 1),
        (GroupSort, (), {"group_size": 2, "_coefficient_lip": 3.0}, (4, 3, 3), 3),
        (FullSort, (), {"group_size": None, "_coefficient_lip": 0.5}, (8,), 0.5),
        (HouseHolder, (), {"_coefficient_lip": 1.0}, (8, 2, 2), 1),
        (TorchlipMaxMin, (), {"_coefficient_lip": 2.0}, (6,), 2),
        (LPReLU, (1, 5.0), {"_coefficient_lip": 3.0}, (6,), 3),
        (LPReLU, (1, 5.0), {"_coefficient_lip": 0.5}, (6,), 1),
        (L2NormPool, (2, 2), {"_coefficient_lip": 2.0}, (2, 4, 4), 2),
        (L2NormPool, (2, 3, 2), {"_coefficient_lip": 1.0}, (2, 5, 5), 2),
        (AdaptiveL2NormPool, (), {"_coefficient_lip": 2.0}, (2, 3, 3), 2),
    ],
)
def test_torchlips_activations_and_poolings(kind, arguments, settings, shape, expected):
    layer = kind(*arguments)
    vars(layer).update(settings)
    assert upper_bound(layer, shape).total == pytest.approx(expected)
    found = lower_bound(layer.double(), normal(20, *shape))
    assert 0.85 * expected <= found <= expected * (1 + 1e-9)


class Sine(nn.Module):
    """x + sin(f(x)), which is no sequence: it states its bound."""

    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, inputs):
        return inputs + self.branch(inputs).sin()

    def certified_bound(self, input_shape):
        return 1 + upper_bound(self.branch, input_shape).total


@pytest.mark.parametrize("part", ["0", "0.0", "0.1", "1", "1.branch"])
@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.register_forward_hook(lambda module, inputs, outputs: 3 * outputs.abs()),
        lambda module: module.register_forward_pre_hook(lambda module, inputs: (3 * inputs[0].abs(),)),
        lambda module: setattr(module, "forward", lambda x: 3 * x.abs()),
        lambda module: setattr(module, "_call_impl", lambda x: 3 * x.abs()),
    ],
    ids=["hook", "pre-hook", "forward", "_call_impl"],
)
def test_what_changes_a_part_from_outside_is_not_overlooked(part, change):
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), Sine(nn.Linear(3, 3)))
    assert upper_bound(model, (3,)).total > 0
    change(model.get_submodule(part))
    with pytest.raises(ValueError, match="no bound is known"):
        upper_bound(model, (3,))


@pytest.mark.parametrize(
    "register",
    [
        lambda: hooks.register_module_forward_hook(lambda module, inputs, outputs: 9 * outputs),
        lambda: hooks.register_module_forward_pre_hook(lambda module, inputs: (9 * inputs[0],)),
    ],
    ids=["hook", "pre-hook"],
)
def test_a_hook_of_every_module_is_not_overlooked(register):
    handle = register()
    try:
        with pytest.raises(ValueError, match="no bound is known"):
            upper_bound(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), (3,))
    finally:
        handle.remove()


@pytest.mark.parametrize("layer", [nn.Threshold(-6.0, 20.0), nn.Hardshrink(5e-3), nn.Threshold(-50.0, 0.0)])
def test_what_moves_entries_of_one_size_alone_is_not_taken_for_a_selection(layer):
    with pytest.raises(ValueError, match="no bound is known"):
        upper_bound(layer, (4,))


def test_a_module_that_is_no_sequence_states_its_bound_by_a_method(monkeypatch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), Sine(nn.Sequential(nn.Linear(4, 4), nn.Tanh())), nn.Linear(4, 3)).double()
    bound = upper_bound(model, (1, 2, 2))
    J = torch.autograd.functional.jacobian(lambda x: model(x)[0], 0.1 * torch.ones(1, 1, 2, 2, dtype=torch.float64))
    assert torch.linalg.matrix_norm(J.flatten(1), 2) <= bound.total
    branch, head = (torch.linalg.matrix_norm(layer.weight, 2).item() for layer in (model[1].branch[0], model[2]))
    assert bound.total == pytest.approx((1 + branch) * head)
    assert [name for name, _ in bound.layers] == ["0", "1", "2"]
    monkeypatch.delattr(Sine, "certified_bound")
    with pytest.raises(ValueError, match=r"layer '1' \(Sine\).*give the module a method certified_bound"):
        upper_bound(model, (1, 2, 2))


# --- networks --------------------------------------------------------------------------------------------------------


def small_network(seed=0, padding_mode="zeros"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        convolution = nn.Conv2d(2, 4, 3, padding=1, padding_mode=padding_mode)
        branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2, padding_mode=padding_mode), nn.LeakyReLU())
        return nn.Sequential(
            convolution, nn.ReLU(), Residual(branch), nn.MaxPool2d(2), nn.PixelUnshuffle(2), nn.Flatten(),
            nn.Linear(16, 3),
        )  # fmt: skip


def test_layers_are_named_and_multiply_to_the_total():
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 2))
    bound = upper_bound(model, (1, 2, 2))
    assert isinstance(bound, NetworkBound)
    assert [name for name, _ in bound.layers] == ["0", "1.0", "1.1", "2"]
    expected = [1, linear_upper_bound(model[1][0], (4,)), 1, linear_upper_bound(model[2], (3,))]
    assert [each for _, each in bound.layers] == expected
    assert bound.total == pytest.approx(math.prod(expected))


@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
def test_composition_bounds_the_jacobian(padding_mode):
    for seed in range(5):
        model = small_network(seed, padding_mode)
        total = upper_bound(model, (2, 4, 4)).total
        assert largest_slope(model.double(), (2, 4, 4), scale=3) <= total


def test_a_linear_network_can_attain_the_product():
    matrix = nn.Linear(5, 5, bias=False).double()
    inverse = nn.Linear(5, 5, bias=False).double()
    inverse.weight.data = matrix.weight.data.T.clone()
    model = nn.Sequential(matrix, inverse)
    assert upper_bound(model, (5,)).total == pytest.approx(largest_slope(model, (5,), points=1))


def test_a_residual_is_one_plus_its_branch():
    branch = nn.Linear(5, 5, bias=False)
    assert constant(Residual(branch), (5,)) == pytest.approx(1 + linear_upper_bound(branch, (5,)))
    nn.init.eye_(branch.weight)
    assert constant(Residual(branch), (5,)) == pytest.approx(2)
    nested = Residual(nn.Sequential(Residual(branch), nn.ReLU()))
    assert constant(nested, (5,)) == pytest.approx(3)


def test_a_residual_must_keep_the_shape():
    with pytest.raises(ValueError, match="keep the shape"):
        upper_bound(Residual(nn.Linear(5, 1)), (5,))


def test_orthogoniums_residual_containers():
    residual = pytest.importorskip("orthogonium.layers.residual")
    branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    half = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU())
    inner, inner_half = upper_bound(branch, (4, 3, 3)).total, upper_bound(half, (2, 3, 3)).total
    share = torch.sigmoid(torch.tensor(0.7)).item()
    for container, expected in (
        (residual.ConcatResidual(half), max(1, inner_half)),
        (residual.L2NormResidual(branch), math.sqrt((1 + inner**2) / 2)),
        (residual.AdditiveResidual(branch, 0.7), share + (1 - share) * inner),
        (residual.PrescaledAdditiveResidual(branch, -2.0), (1 + 2 * inner) / 3),
    ):
        bound = constant(container, (4, 3, 3))
        assert bound == pytest.approx(expected)
        assert largest_slope(container.double(), (4, 3, 3), scale=3) <= bound * (1 + 1e-6)
        container.float()


def test_a_bound_of_the_modules_own_comes_first():
    class Known(nn.Linear):
        def certified_bound(self, input_shape):
            assert input_shape == (4,)
            return 7.0

    class Vague(nn.Module):
        def certified_bound(self, input_shape):
            return math.nan

        def forward(self, inputs):
            return inputs

    assert upper_bound(nn.Sequential(Known(4, 3), nn.ReLU()), (4,)).total == 7
    assert upper_bound(Residual(Known(4, 4)), (4,)).total == 8
    with pytest.raises(ValueError, match="finite number >= 0, got nan"):
        upper_bound(Vague(), (4,))


def test_a_module_that_is_used_twice_counts_twice():
    layer = nn.Linear(3, 3)
    assert len(upper_bound(nn.Sequential(layer, nn.ReLU(), layer), (3,)).layers) == 3


def test_each_output_on_its_own():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    body = linear_upper_bound(model[0], (6,))
    rows = model[2].weight.detach().double().norm(dim=1).max().item()
    bound = upper_bound(model, (6,), per_output=True)
    assert bound.total == pytest.approx(body * rows)
    assert bound.total < upper_bound(model, (6,)).total
    model.double()
    for seed in range(5):
        assert jacobian(model, normal(6, seed=seed)).norm(dim=1).max() <= bound.total


def test_modes_and_dtypes_are_left_alone():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.BatchNorm1d(3)).half()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    upper_bound(model, (3,))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_inputs_that_dont_fit_are_refused_by_the_layers_name():
    with pytest.raises(ValueError, match=r"layer '1' \(Linear\) on shape \(3,\)"):
        upper_bound(nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3)), (4,))


def test_a_bound_that_a_foreign_class_states_counts_for_nothing_where_only_this_packages_are_trusted():
    class Understated(nn.Linear):
        def certified_bound(self, input_shape):
            return 0.5

    layer = Understated(4, 3).double()
    true = torch.linalg.matrix_norm(layer.weight.detach(), 2).item()
    model = nn.Sequential(nn.Linear(5, 4).double(), layer)
    assert upper_bound(layer, (4,)).total == 0.5
    assert upper_bound(layer, (4,), trusted=("orthobench",)).total == pytest.approx(true, rel=1e-6)
    assert dict(upper_bound(model, (5,), trusted=("orthobench",)).layers)["1"] == pytest.approx(true, rel=1e-6)
