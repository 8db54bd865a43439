"""No linear layer has a singular value above the constant that it states, before and after training."""

import itertools
import math

import pytest
import torch
from layer_cases import CONVOLUTIONS, DENSE, VALUES, covering_cases, input_shape, jacobian, make, scaled, train

from orthobench.lipschitz.bounds import upper_bound
from orthobench.lipschitz.layers import LAYERS, export_plain, make_layer

LINEAR = [name for name in CONVOLUTIONS if not LAYERS[name].nonlinear]
CASES = [(name, case) for name in LINEAR for case in covering_cases(LAYERS[name])]


def name_case(value):
    return value if isinstance(value, str) else "-".join(str(each).replace(" ", "") for each in value.values())


def largest(layer, shape):
    return float(torch.linalg.svdvals(jacobian(layer, shape))[0])


@pytest.mark.parametrize(("name", "case"), CASES, ids=name_case)
def test_no_singular_value_is_above_the_stated_bound_before_and_after_training(name, case):
    shape = input_shape(case)
    layer = make(name, case).eval()
    factor = case["stride"] if case["transposed"] else 1 / case["stride"]
    output_shape = (case["channels"][1], *(n * factor for n in shape[1:]))
    assert layer(torch.zeros(2, *shape)).shape == (2, *output_shape)
    before = jacobian(layer, shape)
    values = torch.linalg.svdvals(before)
    assert values[0] <= layer.lipschitz_bound * (1 + 1e-4)
    train(layer, shape)
    after = jacobian(layer, shape)
    assert (after - before).norm() > 1e-3 * before.norm() or case["kernel_size"] == 1  # it has moved
    assert torch.linalg.svdvals(after)[0] <= layer.lipschitz_bound * (1 + 1e-4)
    if LAYERS[name].orthogonal and case["padding_mode"] == "circular":
        assert values[-1] >= 0.95
        assert torch.linalg.svdvals(after)[-1] >= 0.95


@pytest.mark.parametrize(("stride", "dilation"), [(2, 3), (3, 2), (2, 2)])
@pytest.mark.parametrize("name", [name for name in LINEAR if LAYERS[name].strided])
def test_stride_and_dilation_together_keep_the_bound(name, stride, dilation):
    for channels, transposed in itertools.product([(8, 4), (2, 12), (12, 2)], (False, True)):
        torch.manual_seed(0)
        options = {"stride": stride, "dilation": dilation, "transposed": transposed}
        try:
            layer = make_layer(name, *channels, 3, **options).eval()
        except ValueError:
            assert LAYERS[name].transposed < transposed or (stride == 2 == dilation and name[:3] in ("aoc", "bjo"))
            continue
        shape = (channels[0], 3, 3) if transposed else (channels[0], 12, 12)
        values = torch.linalg.svdvals(jacobian(layer, shape))
        assert values[0] <= layer.lipschitz_bound * (1 + 1e-5)
        assert values[0] <= upper_bound(layer, shape).total * (1 + 1e-5)
        if LAYERS[name].orthogonal:
            assert values[-1] >= 0.95


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"dilation": 2}, {"groups": 2}, {"transposed": True}, {"stride": 2, "transposed": True}],
)
@pytest.mark.parametrize("name", [name for name in LINEAR if "valid" in LAYERS[name].padding_modes])
def test_a_convolution_without_padding_is_the_inner_part_of_one_with_zeros(name, options):
    kind = LAYERS[name]
    if options.get("transposed", False) > kind.transposed or options.get("groups", 1) > 1 + kind.grouped:
        return
    torch.manual_seed(0)
    layer = train(make_layer(name, 8, 4, 3, padding_mode="valid", **options), (8, 8, 8), steps=3)
    shape = (8, 4, 4) if options.get("transposed") else (8, 8, 8)
    J = jacobian(layer, shape)
    assert torch.linalg.svdvals(J)[0] <= layer.lipschitz_bound * (1 + 1e-5)
    assert torch.linalg.svdvals(J)[0] <= upper_bound(layer, shape).total * (1 + 1e-5)
    torch.testing.assert_close(export_plain(layer)(torch.ones(1, *shape)), layer(torch.ones(1, *shape)))
    if options.get("stride", 1) == 1:
        padded = make_layer(name, 8, 4, 3, padding_mode="zeros", **options)
        padded.load_state_dict(layer.state_dict())
        margin = options.get("dilation", 1)
        x = torch.randn(1, *shape)
        inner, outer = (layer(x), padded.eval()(x)) if not options.get("transposed") else (padded.eval()(x), layer(x))
        torch.testing.assert_close(outer[..., margin:-margin, margin:-margin], inner)


WIDENING = [  # kernel, stride, groups, (inputs, outputs), transposed: a nearly square matrix from random weights
    (4, 2, 1, (4, 32), False),
    (5, 4, 1, (2, 32), False),
    (5, 2, 1, (2, 32), False),
    (2, 2, 2, (8, 32), False),
    (1, 1, 1, (64, 64), False),
    (4, 2, 1, (4, 8), True),
    (2, 2, 2, (16, 4), True),
    (3, 2, 2, (16, 4), True),
]


def makes_widening(name, case):
    kernel_size, _, groups, _, transposed = case
    kind = LAYERS[name]
    grouped, turned = groups == 1 or kind.grouped, kind.transposed or not transposed
    return kind.orthogonal and grouped and turned and (kernel_size % 2 or not kind.odd_kernels)


@pytest.mark.parametrize(
    ("name", "case"), [pair for pair in itertools.product(LINEAR, WIDENING) if makes_widening(*pair)], ids=str
)
def test_an_orthogonal_layer_is_orthogonal_where_it_widens_with_a_stride(name, case):
    kernel_size, stride, groups, channels, transposed = case
    size = 1 if kernel_size == 1 else 4 if transposed else 8
    shape = (channels[0], size, size)
    for seed in range(2):
        torch.manual_seed(seed)
        layer = make_layer(name, *channels, kernel_size, stride=stride, groups=groups, transposed=transposed).eval()
        values = torch.linalg.svdvals(jacobian(layer, shape))
        assert values[-1] >= 0.999
        assert values[0] <= layer.lipschitz_bound * (1 + 1e-5)
    if name.startswith("aoc"):
        assert torch.linalg.svdvals(jacobian(train(layer, shape), shape))[-1] >= 0.99


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_cases_hold_every_value_of_every_option_that_a_kind_supports(name):
    kind, cases = LAYERS[name], covering_cases(LAYERS[name])
    seen = {option: {case[option] for case in cases} for option in VALUES}
    assert seen["kernel_size"] == ({1, 3, 5, 7} if kind.odd_kernels else {1, 2, 3, 4, 5, 6, 7})
    assert seen["stride"] == ({1, 2} if kind.strided else {1})
    assert seen["groups"] == ({1, 2, 4} if kind.grouped else {1})
    assert seen["dilation"] == ({1, 2} if kind.dilated else {1})
    assert seen["transposed"] == ({False, True} if kind.transposed else {False})
    assert seen["padding_mode"] == set(kind.padding_modes) - {"valid"}


@pytest.mark.parametrize("scale", [1, 10, 100, 1e3, 1e4])
@pytest.mark.parametrize("name", [name for name, kind in LAYERS.items() if not kind.nonlinear])
def test_the_bounds_hold_for_the_float32_pass_of_weights_of_any_scale(name, scale):
    forms = [None] * LAYERS[name].dense + [1, 3, 5] * LAYERS[name].conv
    for kernel_size, channels in itertools.product(forms, [(3, 5), (5, 3), (4, 4)]):
        torch.manual_seed(0)
        layer = scaled(make_layer(name, *channels, kernel_size, bias=False), scale)
        shape = channels[:1] if kernel_size is None else (channels[0], 6, 6)
        J = jacobian(layer, shape)
        measured = float(torch.linalg.svdvals(J)[0] if layer.joint else J.norm(dim=1).max())
        bounds = upper_bound(layer, shape, per_output=not layer.joint).total, layer.lipschitz_bound
        assert measured <= min(bounds) * (1 + 5e-6)


@pytest.mark.parametrize("scale", [1e-16, 1e-6, 1e16])
@pytest.mark.parametrize("kernel_size", [None, 3])
def test_spectral_normalisation_of_a_small_or_large_weight_is_that_of_the_weight(scale, kernel_size):
    shape = (4,) if kernel_size is None else (4, 6, 6)
    torch.manual_seed(0)
    layer = make_layer("spectral", 4, 5, kernel_size, bias=False)
    x = torch.randn(2, *shape)
    expected = layer(x)
    weight = layer.parametrizations.weight.original
    with torch.no_grad():
        weight.mul_(scale)
    torch.testing.assert_close(layer.eval()(x), expected, rtol=1e-3, atol=1e-3)
    layer.train()(x)
    torch.testing.assert_close(layer.eval()(x), expected, rtol=0.05, atol=0.05)
    assert float(torch.linalg.svdvals(jacobian(layer.eval(), shape))[0]) <= layer.lipschitz_bound * (1 + 1e-5)


@pytest.mark.parametrize("name", [name for name in DENSE if not LAYERS[name].nonlinear])
@pytest.mark.parametrize("shape", [(12, 12), (5, 12), (12, 5), (7, 1), (1, 1)])
def test_no_singular_value_of_a_dense_layer_is_above_the_stated_bound(name, shape):
    torch.manual_seed(0)
    layer = make_layer(name, *shape).eval()
    for _ in range(2):
        J = jacobian(layer, shape[:1])
        measured = torch.linalg.svdvals(J)[0] if layer.joint else J.norm(dim=1).max()
        assert measured <= layer.lipschitz_bound * (1 + 1e-4)
        if LAYERS[name].orthogonal:
            assert torch.linalg.svdvals(J)[-1] >= 0.95
        train(layer, shape[:1])


def test_unit_norm_bounds_each_output_and_not_all_together():
    torch.manual_seed(0)
    layer = make_layer("unit_norm", 8, 8).eval()
    for _ in range(20):  # towards equal rows, where the norm is sqrt(8)
        (-layer.weight.sum()).backward()
        with torch.no_grad():
            layer.parametrizations.weight.original.add_(layer.parametrizations.weight.original.grad, alpha=-1)
    J = jacobian(layer, (8,))
    torch.testing.assert_close(J.norm(dim=1), torch.ones(8, dtype=torch.float64), atol=1e-5, rtol=0)
    assert torch.linalg.svdvals(J)[0] > 2
    assert layer.lipschitz_bound == 1
    assert layer.joint is False


@pytest.mark.parametrize("name", ["plain", "spectral"])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"groups": 2}, {"dilation": 2}, {"stride": 2, "transposed": True}]
)
def test_a_computed_bound_is_at_most_two_percent_above_the_norm_on_large_images(name, options):
    torch.manual_seed(0)
    layer = make_layer(name, 2, 2, 3, **options).eval()
    size = (10, 10) if options.get("transposed") else (20, 20)
    assert largest(layer, (2, *size)) >= layer.lipschitz_bound / 1.04


def test_the_bound_of_a_dense_plain_layer_is_its_norm():
    layer = make_layer("plain", 20, 30)
    assert layer.lipschitz_bound == pytest.approx(largest(layer, (20,)), rel=1e-6)


def test_spectral_normalisation_states_the_constant_it_has_rather_than_one():
    torch.manual_seed(0)
    layer = train(make_layer("spectral", 4, 4, 3), (4, 8, 8))
    assert layer.lipschitz_bound > 1.05
    assert largest(layer, (4, 8, 8)) > 1.05


def test_reading_a_computed_bound_changes_nothing():
    layer = make_layer("spectral", 8, 8).train()
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    assert layer.lipschitz_bound > 0
    assert layer.training
    assert all(value.equal(before[key]) for key, value in layer.state_dict().items())


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_a_truncated_exponential_states_what_it_can_be_away_from_orthogonal(kernel_size):
    torch.manual_seed(0)
    layer = make_layer("soc", 2, 2, kernel_size, bias=False).eval()
    with torch.no_grad():  # a kernel as skew as can be, concentrated on few entries
        layer.weight.zero_()
        layer.weight[0, 1] = 1
    values = torch.linalg.svdvals(jacobian(layer, (2, 8, 8)))
    assert layer.lipschitz_bound > 1
    assert values[0] <= layer.lipschitz_bound * (1 + 1e-6)
    assert values[-1] >= 2 - layer.lipschitz_bound - 1e-6


def test_the_claim_of_a_deep_network_of_truncated_exponentials_is_the_product_of_theirs():
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(make_layer("soc", 2, 2, 7, bias=False) for _ in range(41))).eval()
    with torch.no_grad():  # one kernel, as skew as can be: what each layer adds, the next does too
        for layer in model:
            layer.weight.zero_()
            layer.weight[0, 1] = 1
    measured = largest(model.double(), (2, 6, 6))
    assert measured > 1 + 20 * (largest(model[:1], (2, 6, 6)) - 1) > 1
    assert measured <= math.prod(layer.lipschitz_bound for layer in model) * (1 + 1e-9)
    assert measured <= upper_bound(model, (2, 6, 6)).total * (1 + 1e-9)


@pytest.mark.parametrize("name", ["cayley", "lot", "soc"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_certified_bound_of_an_orthogonal_layer_is_its_norm(name, stride):
    torch.manual_seed(0)
    layer = train(make_layer(name, 4, 8, 3, stride=stride), (4, 6, 6))
    assert layer.certified_bound((4, 6, 6)) == pytest.approx(largest(layer, (4, 6, 6)), abs=1e-4)


@pytest.mark.parametrize("name", ["plain", "aoc_qr"])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 2}, {"dilation": 2}])
def test_the_certified_bound_of_a_circular_transposed_convolution_is_its_norm(name, options):
    torch.manual_seed(0)
    layer = make_layer(name, 8, 4, 3, transposed=True, **options)
    assert layer.certified_bound((8, 5, 5)) == pytest.approx(largest(layer, (8, 5, 5)), abs=1e-5)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 2}, {"dilation": 2}, {"kernel_size": 4}])
def test_a_transposed_circular_convolution_is_the_transpose_of_the_convolution(options):
    torch.manual_seed(0)
    options = {"kernel_size": 3, "bias": False, **options}
    layer = make_layer("plain", 4, 8, **options)
    transpose = make_layer("plain", 8, 4, transposed=True, **options)
    with torch.no_grad():
        transpose.convolution.weight.copy_(layer.weight)
    small = 6 // options.get("stride", 1)
    torch.testing.assert_close(jacobian(transpose, (8, small, small)), jacobian(layer, (4, 6, 6)).T)
