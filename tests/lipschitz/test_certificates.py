"""Certificates against closed forms, plain loops, scikit-learn, and the nearest adversarial points that are found."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn.utils import parametrizations

from orthobench.lipschitz.attacks import nearest_adversarial, pgd_l2
from orthobench.lipschitz.bounds import upper_bound
from orthobench.lipschitz.bounds.jacobian import float64_copy
from orthobench.lipschitz.certificates import (
    certified_accuracy,
    certified_auroc,
    certified_radius,
    logit_rounding,
    margin,
)
from orthobench.lipschitz.layers import MaxMin, make_layer
from orthobench.models.lipschitz_networks import lipschitz_convnet

SQRT_2 = math.sqrt(2)
HALF = (torch.float16, torch.bfloat16)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def integers(high, count, seed=0):
    return torch.randint(high, (count,), generator=torch.Generator().manual_seed(seed))


def linear_classifier(features=6, classes=4, seed=0, bias=True):
    layer = nn.Linear(features, classes, bias=bias).double()
    layer.weight.data = normal(classes, features, seed=seed)
    if bias:
        layer.bias.data = normal(classes, seed=seed + 1)
    return layer


def orthogonal_network(seed=0, inputs=6, classes=4):
    """A 1-Lipschitz network of three orthogonal matrices and MaxMin."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [parametrizations.orthogonal(nn.Linear(n, m)) for n, m in ((inputs, 8), (8, 8), (8, classes))]
    return nn.Sequential(layers[0], MaxMin(), layers[1], MaxMin(), layers[2]).eval()


def distances_to_planes(layer, inputs, labels):
    """The exact distance of each input to the nearest change of a linear classifier's prediction, by a loop."""
    logits, weight = layer(inputs).detach(), layer.weight.detach()
    result = []
    for f, y in zip(logits, labels.tolist(), strict=True):
        others = [k for k in range(len(f)) if k != y]
        result.append(min(float((f[y] - f[k]) / (weight[y] - weight[k]).norm()) for k in others))
    return torch.tensor(result, dtype=torch.float64).clamp(min=0)


# --- margins ---------------------------------------------------------------------------------------------------------


def test_the_margin_is_to_the_largest_other_logit():
    logits = normal(50, 5)
    labels = integers(5, 50)
    expected = [
        float(f[y] - max(f[k] for k in range(5) if k != y)) for f, y in zip(logits, labels.tolist(), strict=True)
    ]
    torch.testing.assert_close(margin(logits, labels), torch.tensor(expected, dtype=torch.float64))


def test_margins_of_half_precision_are_differences_in_float64():
    logits = torch.tensor([[1.0, 1.0 + 2**-7]], dtype=torch.bfloat16)
    assert margin(logits, torch.tensor([1])).item() == 2**-7
    assert margin(logits, torch.tensor([1])).dtype == torch.float64


def test_a_tie_is_no_margin():
    logits = torch.ones(1, 3, dtype=torch.float64)
    assert margin(logits, torch.tensor([1])).item() == 0
    assert certified_radius(logits, torch.tensor([1])).item() == 0


# --- radii -----------------------------------------------------------------------------------------------------------


def test_radii_are_the_textbook_quotients():
    logits, labels = normal(40, 5), integers(5, 40)
    margins = margin(logits, labels).clamp(min=0)
    torch.testing.assert_close(certified_radius(logits, labels, 3.0), margins / (SQRT_2 * 3), rtol=1e-12, atol=0)
    per_output = certified_radius(logits, labels, 3.0, "per_output")
    torch.testing.assert_close(per_output, margins / 6, rtol=1e-12, atol=0)
    assert (certified_radius(logits, labels) == 0).equal(margin(logits, labels) <= 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_head_certificate_of_a_linear_classifier_is_the_distance_to_the_boundary(seed):
    layer, inputs = linear_classifier(seed=seed), normal(50, 6, seed=seed + 7)
    labels = layer(inputs).argmax(1)
    labels[::5] = (labels[::5] + 1) % 4  # misclassified ones
    radii = certified_radius(layer(inputs), labels, 1.0, "head", layer.weight)
    torch.testing.assert_close(radii, distances_to_planes(layer, inputs, labels), rtol=1e-12, atol=1e-15)
    assert (radii[::5] == 0).all()


def test_no_certificate_exceeds_the_distance_to_a_linear_classifiers_boundary():
    for seed in range(5):
        layer, inputs = linear_classifier(seed=seed), normal(50, 6, seed=seed + 3)
        labels = layer(inputs).argmax(1)
        exact = distances_to_planes(layer, inputs, labels)
        rows = layer.weight.detach().norm(dim=1).max().item()
        joint = certified_radius(layer(inputs), labels, upper_bound(layer, (6,)).total)
        per_output = certified_radius(layer(inputs), labels, rows, "per_output")
        assert (joint <= exact * (1 + 1e-12)).all()
        assert (per_output <= exact * (1 + 1e-12)).all()


def test_the_joint_certificate_is_attained():
    """f = (x, -x) / sqrt(2) has a constant of 1, a margin of sqrt(2) x and its boundary at a distance of x."""
    layer = nn.Linear(1, 2, bias=False).double()
    layer.weight.data = torch.tensor([[1.0], [-1.0]], dtype=torch.float64) / SQRT_2
    points = torch.tensor([[0.3], [2.0]], dtype=torch.float64)
    torch.testing.assert_close(certified_radius(layer(points), torch.tensor([0, 0])), points[:, 0])


def test_the_per_output_certificate_is_attained():
    layer = nn.Linear(1, 2, bias=False).double()
    layer.weight.data = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    point = torch.tensor([[0.3]], dtype=torch.float64)
    assert certified_radius(layer(point), torch.tensor([0]), 1.0, "per_output").item() == pytest.approx(0.3)
    # The joint constant of that layer is sqrt(2): claiming 1 for it would be wrong.
    assert certified_radius(layer(point), torch.tensor([0])).item() > 0.4


@pytest.mark.parametrize("seed", range(3))
def test_no_certificate_of_a_network_exceeds_the_nearest_adversarial_point(seed):
    model, inputs = orthogonal_network(seed), normal(60, 6, seed=seed).float()
    labels = model(inputs).argmax(1)
    labels[:6] = (labels[:6] + 1) % 4
    total = upper_bound(model, (6,)).total
    assert total == pytest.approx(1, abs=1e-5)
    _, distances = nearest_adversarial(model, inputs, labels)
    assert distances.isfinite().float().mean() > 0.9
    logits = model(inputs).detach()
    joint = certified_radius(logits, labels, total)
    head = certified_radius(logits, labels, upper_bound(model[:-1], (6,)).total, "head", model[-1].weight)
    for radii in (joint, head):
        assert (radii <= distances).all()
        assert (radii[6:] > 0).float().mean() > 0.9
    # And they are not idle: the attack comes within a small factor for some.
    assert (distances / head)[head > 0].min() < 1.5
    assert (head >= joint * (1 - 1e-5)).all()


def test_a_constant_that_is_too_small_is_caught_by_the_attack():
    model, inputs = orthogonal_network(), normal(60, 6).float()
    labels = model(inputs).argmax(1)
    _, distances = nearest_adversarial(model, inputs, labels)
    assert (certified_radius(model(inputs), labels, 0.5) > distances).any()


positive = st.floats(0.01, 100)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), positive, positive, st.sampled_from(["joint", "per_output", "head"]))
def test_certificates_shrink_as_the_constant_grows(seed, constant, factor, bound):
    logits, labels = normal(10, 3, seed=seed), integers(3, 10, seed)
    weight = normal(3, 5, seed=seed) if bound == "head" else None
    radii = certified_radius(logits, labels, constant, bound, weight)
    scaled = certified_radius(logits, labels, constant * factor, bound, weight)
    torch.testing.assert_close(scaled, radii / factor, rtol=1e-9, atol=0)
    assert ((scaled <= radii) if factor >= 1 else (scaled >= radii)).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), positive, st.sampled_from([torch.float64, torch.float32, *HALF]))
def test_certificates_scale_with_the_normalisation(seed, scale, dtype):
    logits, labels = normal(10, 3, seed=seed).to(dtype), integers(3, 10, seed)
    radii = certified_radius(logits, labels, 2.0)
    torch.testing.assert_close(certified_radius(logits, labels, 2.0, input_scale=scale), radii / scale)
    # Scaling logits and constant alike changes nothing.
    torch.testing.assert_close(certified_radius(4 * logits, labels, 8.0), radii)


def test_the_largest_scale_of_the_channels_counts():
    logits, labels = normal(10, 3), integers(3, 10)
    stds = (0.2023, 0.1994, 0.2010)  # of CIFAR-10: the smallest makes the network steepest
    radii = certified_radius(logits, labels, input_scale=[1 / std for std in stds])
    torch.testing.assert_close(radii, certified_radius(logits, labels) * 0.1994)
    assert torch.equal(radii, certified_radius(logits, labels, input_scale=1 / torch.tensor(stds, dtype=torch.float64)))


def test_a_normalised_network_is_certified_in_units_of_its_inputs():
    std = torch.tensor([0.2, 0.5, 0.4, 1.0, 0.3, 0.6])
    body = linear_classifier(features=6, bias=False)
    inputs = normal(40, 6)
    labels = body(inputs / std).argmax(1)
    whole = nn.Linear(6, 4, bias=False).double()
    whole.weight.data = body.weight.data / std
    exact = distances_to_planes(whole, inputs, labels)
    radii = certified_radius(body(inputs / std), labels, 1.0, "head", body.weight, 1 / 0.2)
    assert (radii <= exact).all()
    assert (certified_radius(body(inputs / std), labels, 1.0, "head", body.weight, 1 / 0.5) > exact).any()


def test_equal_rows_of_the_head_cant_be_changed_by_the_input():
    weight = torch.ones(2, 3)
    logits = torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    radii = certified_radius(logits, torch.tensor([0, 0, 0]), 1.0, "head", weight)
    assert radii.tolist() == [math.inf, 0, 0]


# --- rounding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "error"), [(torch.float16, 2**-7), (torch.bfloat16, 2**-4), (torch.float32, 2**-17)])
def test_rounding_is_subtracted_as_stated(dtype, error):
    logits = torch.tensor([[4.0, -1.0, 0.5], [1.0, 1.0 - 4 * error, 0.0]], dtype=dtype)
    # Twice the bound of a difference, which is twice that of a logit.
    expected = [(3.5 - 4 * error * 4) / SQRT_2, 0]
    assert certified_radius(logits, torch.tensor([0, 0])).tolist() == pytest.approx(expected)
    # In float64 logits are taken as they are.
    assert certified_radius(logits.double(), torch.tensor([0, 0]))[1] > 0


def test_a_rounding_bound_of_ones_own_takes_its_place():
    logits, labels = torch.tensor([[3.0, 1.0], [3.0, 2.0]], dtype=torch.bfloat16), torch.tensor([0, 0])
    assert certified_radius(logits, labels, rounding=0).tolist() == pytest.approx([2 / SQRT_2, 1 / SQRT_2])
    assert certified_radius(logits, labels, rounding=0.25).tolist() == pytest.approx([1 / SQRT_2, 0])
    each = torch.tensor([0.25, 0.125])
    assert certified_radius(logits, labels, rounding=each).tolist() == pytest.approx([1 / SQRT_2, 0.5 / SQRT_2])


def frozen_network(seed, dtype):
    """An orthogonal network whose weights, rounded to a type, are its own."""
    model = orthogonal_network(seed)
    for layer in model[::2]:
        nn.utils.parametrize.remove_parametrizations(layer, "weight")
    return model.to(dtype)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("measured", [False, True])
def test_certificates_of_networks_in_half_precision_hold_for_what_they_compute(dtype, measured):
    """The evaluated network is a step function; its own predictions are certified, at clean and attacked points."""
    claimed = 0
    for seed in range(2):
        model, exact = frozen_network(seed, dtype), frozen_network(seed, dtype).double()
        inputs = normal(60, 6, seed=seed).to(dtype)
        labels = exact(inputs.double()).argmax(1)
        nearest, distances = nearest_adversarial(exact, inputs.double(), labels)
        rounding = logit_rounding(model, torch.cat([inputs.double(), nearest])) if measured else None
        radii = certified_radius(model(inputs), labels, upper_bound(model, (6,)).total, rounding=rounding)
        claimed += (radii > 0).sum().item()
        assert (radii <= distances).all()
        attacked = pgd_l2(model, inputs, labels, radii, steps=20)
        assert (model(attacked).argmax(1) == labels)[radii > 0].all()
        near = nearest.to(dtype)
        within = (near.double() - inputs.double()).norm(dim=1) <= radii
        assert (model(near).argmax(1) == labels)[within].all()
    assert claimed > (80 if dtype == torch.float16 else 20)


@pytest.mark.parametrize(("dtype", "units"), [(torch.float32, 64), (torch.float16, 8), (torch.bfloat16, 8)])
def test_the_rounding_bound_covers_networks_twice(dtype, units):
    def convolutions(blocks, count):
        layer = partial(make_layer, "cayley")
        return lipschitz_convnet(0, layer, layer, MaxMin, blocks=blocks, convolutions=count).to(dtype).eval()

    digits = torch.tensor(load_digits().images[:200, None] / 16)
    for model, inputs in (
        *((frozen_network(seed, dtype), normal(500, 6)) for seed in range(3)),
        (convolutions(2, 3), digits),
        (convolutions(3, 5), digits),  # 17 layers with a weight
    ):
        inputs = inputs.to(dtype)
        logits = model(inputs).detach().double()
        exact = float64_copy(model, inputs.shape[1:], 0.05)(inputs.double())
        error = ((logits - exact).abs().max(1).values / logits.abs().max(1).values).max()
        assert torch.finfo(dtype).eps / 8 < error <= units / 2 * torch.finfo(dtype).eps


def test_logit_rounding_measures_the_error():
    model = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4)).to(torch.bfloat16)
    inputs = normal(100, 32)
    measured = logit_rounding(model, inputs, safety=1)
    logits = model(inputs.to(torch.bfloat16)).double()
    exact = model.double()(inputs.to(torch.bfloat16).double())
    assert measured == pytest.approx((logits - exact).abs().max().item())
    assert 0 < measured < 0.1
    with pytest.raises(ValueError, match=r"safety must be at least 1, got 0.5"):
        logit_rounding(model, inputs, safety=0.5)
    with pytest.raises(ValueError, match="at least one example"):
        logit_rounding(model, inputs[:0])


# --- accuracy --------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=20), st.lists(st.floats(0, 3), min_size=1, max_size=5))
def test_certified_accuracy_is_a_count_and_falls_with_the_radius(radii, levels):
    result = certified_accuracy(torch.tensor(radii, dtype=torch.float64), sorted(levels))
    expected = [sum(r > level for r in radii) / len(radii) for level in sorted(levels)]
    assert result == pytest.approx(expected)
    assert result == sorted(result, reverse=True)
    assert certified_accuracy(torch.tensor(radii, dtype=torch.float64), levels[0]) in result


def test_certified_accuracy_at_zero_is_the_accuracy():
    logits, labels = normal(100, 3), integers(3, 100)
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    assert certified_accuracy(certified_radius(logits, labels), 0) == accuracy


# --- one class -------------------------------------------------------------------------------------------------------


def loop_auroc(scores, is_inlier, shift):
    wins = 0
    for a, inlier in zip(scores, is_inlier, strict=True):
        for b, other in zip(scores, is_inlier, strict=True):
            if inlier and not other:
                wins += 1 if a - shift > b + shift else 0.5 if a - shift == b + shift else 0
    return wins / (sum(is_inlier) * (len(is_inlier) - sum(is_inlier)))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30).filter(
        lambda pairs: len({inlier for _, inlier in pairs}) == 2
    ),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_certified_auroc_is_a_plain_loop_and_scikit_learns(pairs, radius, constant):
    scores, inliers = zip(*pairs, strict=True)  # integers: with ties
    result = certified_auroc(torch.tensor(scores, dtype=torch.float64), torch.tensor(inliers), radius, constant)
    assert result == pytest.approx(loop_auroc(scores, inliers, radius * constant))
    moved = np.array(scores) - (2 * np.array(inliers) - 1) * radius * constant
    assert result == pytest.approx(roc_auc_score(inliers, moved))


def test_certified_auroc_falls_with_the_radius():
    scores, inliers = normal(200) + 0.5, integers(2, 200)
    levels = [0, 0.1, 0.3, 1, 5]
    result = [certified_auroc(scores, inliers, level) for level in levels]
    assert result == sorted(result, reverse=True)
    assert result[0] == pytest.approx(roc_auc_score(inliers, scores))
    assert result[-1] < 0.01


def test_certified_auroc_is_a_lower_bound_under_attack():
    layer = linear_classifier(6, 1)
    inputs, inliers = normal(80, 6), integers(2, 80)
    norm = layer.weight.detach().norm().item()
    step = layer.weight.detach() / norm
    signs = 1.0 - 2 * inliers[:, None]
    attacked = layer(inputs + 0.1 * signs * step)[:, 0].detach()
    scores = layer(inputs)[:, 0].detach()
    assert certified_auroc(scores, inliers, 0.1, norm) == pytest.approx(roc_auc_score(inliers, attacked))
    assert certified_auroc(scores, inliers, 0.1, 2 * norm) <= roc_auc_score(inliers, attacked)


# --- errors ----------------------------------------------------------------------------------------------------------

LOGITS, LABELS = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ValueError, "logits must be finite", {"logits": torch.tensor([[0.0, math.nan]] * 3)}),
        (ValueError, "for example 1", {"logits": torch.tensor([[0.0, 1.0], [0.0, math.inf], [0.0, 1.0]])}),
        (
            TypeError,
            "logits must be of dtype float64, .*, got torch.int64",
            {"logits": torch.zeros(3, 2, dtype=torch.int64)},
        ),
        (TypeError, "logits must be a torch.Tensor, got list", {"logits": [[0.0, 1.0]]}),
        (ValueError, r"C >= 2, got \(3, 1\)", {"logits": torch.zeros(3, 1)}),
        (ValueError, r"got \(3, 2\) and \(2,\)", {"labels": torch.zeros(2, dtype=torch.int64)}),
        (ValueError, r"labels must be in 0..1 for 2 logits, got 0 to 2", {"labels": torch.tensor([0, 1, 2])}),
        (ValueError, "got -1 to 0", {"labels": torch.tensor([0, -1, 0])}),
        (TypeError, "integer type, got torch.float32", {"labels": torch.zeros(3)}),
        (ValueError, "lipschitz_constant must be a finite number > 0, got 0", {"lipschitz_constant": 0}),
        (ValueError, "> 0, got -1.0", {"lipschitz_constant": -1.0}),
        (ValueError, "> 0, got nan", {"lipschitz_constant": math.nan}),
        (ValueError, "> 0, got inf", {"lipschitz_constant": math.inf}),
        (TypeError, "lipschitz_constant must be a number, got '1'", {"lipschitz_constant": "1"}),
        (ValueError, "bound must be one of 'joint', 'per_output', 'head', got 'rows'", {"bound": "rows"}),
        (TypeError, "needs head_weight", {"bound": "head"}),
        (
            ValueError,
            r"head_weight must have shape \(2, features\)",
            {"bound": "head", "head_weight": torch.ones(3, 2)},
        ),
        (ValueError, "head_weight must be finite", {"bound": "head", "head_weight": torch.full((2, 2), math.nan)}),
        (ValueError, "bound='head' alone", {"head_weight": torch.ones(2, 2)}),
        (ValueError, "input_scale must be a finite number > 0, got 0", {"input_scale": 0}),
        (ValueError, "got -2.0", {"input_scale": [1.0, -2.0]}),
        (ValueError, "got none", {"input_scale": []}),
        (ValueError, "rounding must be finite and at least 0, got -1", {"rounding": -1}),
        (ValueError, r"or of shape \(3,\)", {"rounding": torch.zeros(2)}),
    ],
)
def test_wrong_arguments_of_a_radius_are_named(error, match, arguments):
    arguments = {"logits": LOGITS, "labels": LABELS, **arguments}
    with pytest.raises(error, match=match):
        certified_radius(**arguments)


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ValueError, "radius must be a finite number >= 0, got -0.1", (torch.ones(2), -0.1)),
        (ValueError, "got nan", (torch.ones(2), [0.1, math.nan])),
        (ValueError, "N >= 1", (torch.ones(0), 0.1)),
        (ValueError, "negative one or NaN", (torch.tensor([math.nan]), 0.1)),
        (ValueError, "negative one or NaN", (torch.tensor([-1.0]), 0.1)),
    ],
)
def test_wrong_arguments_of_an_accuracy_are_named(error, match, arguments):
    with pytest.raises(error, match=match):
        certified_accuracy(*arguments)


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ValueError, "got -1", ([0.0, 1.0], [0, 1], -1)),
        (TypeError, "radius must be a number", ([0.0, 1.0], [0, 1], None)),
        (ValueError, "scores must be finite", ([0.0, math.nan], [0, 1], 0.1)),
        (ValueError, "got 2 of 2 inliers", ([0.0, 1.0], [1, 1], 0.1)),
        (ValueError, "got 0 of 2 inliers", ([0.0, 1.0], [0, 0], 0.1)),
        (ValueError, "True and False, or 1 and 0", ([0.0, 1.0], [0, 2], 0.1)),
        (ValueError, "flatten them", ([0.0, 1.0], [[0, 1]], 0.1)),
        (ValueError, "lipschitz_constant", ([0.0, 1.0], [0, 1], 0.1, 0)),
    ],
)
def test_wrong_arguments_of_an_auroc_are_named(error, match, arguments):
    scores, inliers, *rest = arguments
    with pytest.raises(error, match=match):
        certified_auroc(torch.tensor(scores), torch.tensor(inliers), *rest)
