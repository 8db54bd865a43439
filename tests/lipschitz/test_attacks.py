"""Attacks against the exact distances of linear classifiers; their points are in the ball and in the box."""

import math

import pytest
import torch
from torch import nn

from orthobench.lipschitz.attacks import nearest_adversarial, pgd_l2


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classifier(features=8, classes=4, dtype=torch.float64, seed=0):
    layer = nn.Linear(features, classes).to(dtype)
    layer.weight.data = normal(classes, features, seed=seed).to(dtype)
    layer.bias.data.zero_()
    return layer


def network(seed=0, features=8, classes=4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, classes)).double()


def lengths(points, inputs):
    return (points.double() - inputs.double()).flatten(1).norm(dim=1)


def loss(model, points, labels):
    logits = model(points).detach().double()
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return logits.scatter(1, labels[:, None], -math.inf).max(1).values - own


def boundary(layer, inputs, labels):
    """The exact distances of a linear classifier."""
    W, logits = layer.weight.detach().double(), layer(inputs).detach().double()
    differences = logits.gather(1, labels[:, None]) - logits
    distances = differences / (W[labels][:, None] - W).norm(dim=2)
    return distances.nan_to_num(nan=math.inf).min(1).values


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("radius", [0.0, 1e-6, 0.01, 0.3, 5.0])
def test_points_are_in_the_ball_and_in_the_box(dtype, radius):
    model = classifier(dtype=dtype)
    inputs = uniform(30, 8).to(dtype)
    inputs[0] = 0
    inputs[1] = 1
    labels = model(inputs).argmax(1)
    points = pgd_l2(model, inputs, labels, radius, steps=7, low=0, high=1)
    assert points.dtype == dtype
    assert (lengths(points, inputs) <= radius).all()
    assert points.min() >= 0
    assert points.max() <= 1
    if radius in (0.3, 5.0):
        assert (lengths(points, inputs) > 0.2 * min(radius, 1)).all()


def test_an_attack_uses_the_whole_ball():
    model, inputs = classifier(), normal(20, 8)
    points = pgd_l2(model, inputs, model(inputs).argmax(1), 0.5)
    assert (lengths(points, inputs) > 0.5 * (1 - 1e-5)).all()


def test_within_the_ball_a_linear_classifiers_worst_point_is_found():
    model, inputs = classifier(classes=3), normal(40, 8)
    labels = model(inputs).argmax(1)
    points = pgd_l2(model, inputs, labels, 0.7)
    W = model.weight.detach()
    logits = model(inputs).detach()
    worst = logits - logits.gather(1, labels[:, None]) + 0.7 * (W - W[labels][:, None]).norm(dim=2)
    worst = worst.scatter(1, labels[:, None], -math.inf).max(1).values
    torch.testing.assert_close(loss(model, points, labels), worst, rtol=1e-4, atol=1e-4)


def test_with_a_box_a_linear_score_is_climbed_to_its_maximum():
    """Against the exact solution: clip(x + t w) with the t that makes it as long as the radius, by bisection."""
    weight = normal(8)
    model = nn.Linear(8, 2, bias=False).double()
    model.weight.data = torch.stack([torch.zeros(8, dtype=torch.float64), weight])
    inputs, labels, radius = uniform(30, 8), torch.zeros(30, dtype=torch.int64), 0.8
    points = pgd_l2(model, inputs, labels, radius, low=0.0, high=1.0)
    for point, x in zip(points, inputs, strict=True):
        low, high = 0.0, 1e6
        for _ in range(200):
            middle = (low + high) / 2
            inside = ((x + middle * weight).clamp(0, 1) - x).norm() <= radius
            low, high = (middle, high) if inside else (low, middle)
        best = weight @ (x + low * weight).clamp(0, 1)
        assert float(weight @ point) == pytest.approx(float(best), rel=1e-3)


def test_it_is_never_worse_than_the_clean_input():
    for seed in range(5):
        model, inputs = network(seed), normal(20, 8, seed=seed)
        labels = torch.randint(4, (20,), generator=torch.Generator().manual_seed(seed))
        points = pgd_l2(model, inputs, labels, 0.05, steps=1, restarts=1)
        assert (loss(model, points, labels) >= loss(model, inputs, labels)).all()


def test_more_restarts_are_never_worse():
    model, inputs = network(), normal(30, 8)
    labels = model(inputs).argmax(1)
    losses = [loss(model, pgd_l2(model, inputs, labels, 0.5, steps=10, restarts=n), labels) for n in (1, 2, 5)]
    assert (losses[1] >= losses[0]).all()
    assert (losses[2] >= losses[1]).all()
    assert (losses[2] > losses[0]).any()


def test_each_example_may_have_its_own_radius():
    model, inputs = classifier(), normal(5, 8)
    radii = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])
    points = pgd_l2(model, inputs, model(inputs).argmax(1), radii)
    torch.testing.assert_close(lengths(points, inputs), radii.double(), rtol=1e-5, atol=0)


def test_the_box_may_differ_by_channel():
    images = uniform(4, 2, 3, 3)
    model = nn.Sequential(nn.Flatten(), classifier(18))
    high = torch.tensor([1.0, 1.2]).view(2, 1, 1)
    points = pgd_l2(model, images, model(images).argmax(1), 3.0, low=0, high=high)
    assert points[:, 0].max() <= 1
    assert 1 < points[:, 1].max() <= torch.tensor(1.2)


def test_a_flat_start_doesnt_stop_the_restarts():
    """At the clean input the gradient is zero; random starts get away from it."""

    class Plateau(nn.Module):
        def forward(self, x):
            return torch.stack([0.2 - (x[:, 0].abs() - 0.1).relu(), torch.zeros_like(x[:, 0])], 1)

    inputs, labels = torch.zeros(8, 2, dtype=torch.float64), torch.zeros(8, dtype=torch.int64)
    points = pgd_l2(Plateau(), inputs, labels, 0.5, restarts=4)
    assert (loss(Plateau(), points, labels) > 0).all()


def test_logits_that_arent_finite_count_as_an_attack_that_succeeded():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.stack([1 - x[:, 0], x[:, 0] * 0 + torch.where(x[:, 0] > 0.1, math.nan, 0.0)], 1)

    inputs, labels = torch.zeros(2, 1, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    points = pgd_l2(Broken(), inputs, labels, 0.5)
    assert Broken()(points).isnan().any(1).all()


def test_the_model_and_the_inputs_are_left_alone():
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    model[1].eval()
    inputs = normal(5, 4).float().requires_grad_()
    before = inputs.detach().clone()
    points = pgd_l2(model, inputs, torch.zeros(5, dtype=torch.int64), 0.5, steps=3)
    assert not points.requires_grad
    assert torch.equal(inputs, before)
    assert inputs.grad is None
    assert all(p.grad is None for p in model.parameters())
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_the_seed_decides_the_points():
    model, inputs = network(), normal(10, 8)
    labels = model(inputs).argmax(1)
    first, again, other = (pgd_l2(model, inputs, labels, 0.3, steps=2, seed=s) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("classes", [2, 4])
def test_an_input_is_attacked_alike_alone_and_in_a_batch(classes):
    model = network(classes=classes)
    with torch.no_grad():
        model[0].weight[0].zero_()
        model[0].bias.fill_(-1.0)  # flat around zero, where the first inputs are: random directions lead on
    inputs = torch.cat([1e-3 * normal(4, 8), normal(60, 8, seed=1)])
    labels = model(inputs).argmax(1)
    points = pgd_l2(model, inputs, labels, 3.0, steps=10, restarts=4)
    nearest, distances = nearest_adversarial(model, inputs, labels, steps=20, restarts=3)
    assert not points[:4].equal(inputs[:4])
    for index in (0, 3, 4, 40, 63):
        one = slice(index, index + 1)
        alone = pgd_l2(model, inputs[one], labels[one], 3.0, steps=10, restarts=4)
        torch.testing.assert_close(alone, points[one])
        alone, distance = nearest_adversarial(model, inputs[one], labels[one], steps=20, restarts=3)
        torch.testing.assert_close(distance, distances[one])
        torch.testing.assert_close(alone, nearest[one])


def test_gradients_that_are_switched_off_outside_are_no_obstacle():
    model, inputs = classifier(), normal(5, 8)
    labels = model(inputs).argmax(1)
    with torch.no_grad():
        points = pgd_l2(model, inputs, labels, 0.2)
    assert (lengths(points, inputs) > 0.1).all()


# --- the nearest point -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_point_of_a_linear_classifier_is_found(seed):
    model, inputs = classifier(seed=seed), normal(50, 8, seed=seed + 1)
    labels = model(inputs).argmax(1)
    points, distances = nearest_adversarial(model, inputs, labels, restarts=4)
    exact = boundary(model, inputs, labels)
    assert (distances >= exact * (1 - 1e-9)).all()
    assert (distances <= exact * 1.02).float().mean() > 0.95
    torch.testing.assert_close(lengths(points, inputs), distances)
    assert (loss(model, points, labels) >= 0).all()


def test_nearest_points_stay_in_the_box():
    model, inputs = classifier(), uniform(40, 8)
    labels = model(inputs).argmax(1)
    points, distances = nearest_adversarial(model, inputs, labels, low=0, high=1)
    found = distances.isfinite()
    assert found.float().mean() > 0.5
    assert points.min() >= 0
    assert points.max() <= 1
    assert (distances[found] >= boundary(model, inputs, labels)[found] * (1 - 1e-9)).all()


def test_a_misclassified_input_is_at_distance_zero_and_a_constant_model_has_no_nearest_point():
    model, inputs = classifier(), normal(6, 8)
    wrong = (model(inputs).argmax(1) + 1) % 4
    points, distances = nearest_adversarial(model, inputs, wrong)
    assert torch.equal(points, inputs)
    assert (distances == 0).all()
    nn.init.zeros_(model.weight)
    model.bias.data = torch.tensor([1.0, 0, 0, 0]).double()
    points, distances = nearest_adversarial(model, inputs, torch.zeros(6, dtype=torch.int64))
    assert torch.equal(points, inputs)
    assert (distances == math.inf).all()


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (ValueError, "radius must be a finite number >= 0, got -1", {"radius": -1}),
        (ValueError, "got nan", {"radius": math.nan}),
        (ValueError, "one for each of the 3 inputs", {"radius": torch.ones(2)}),
        (ValueError, "one for each of the 3 inputs", {"radius": torch.tensor([1.0, -1.0, 1.0])}),
        (ValueError, "steps must be an integer of at least 1, got 0", {"steps": 0}),
        (ValueError, "restarts must be an integer of at least 1, got 1.5", {"restarts": 1.5}),
        (ValueError, r"beyond low=0", {"low": 0}),
        (ValueError, r"beyond high=0.5", {"high": 0.5}),
        (TypeError, "floating-point tensor", {"inputs": torch.zeros(3, 4, dtype=torch.uint8)}),
        (ValueError, "inputs must be finite", {"inputs": torch.full((3, 4), math.nan)}),
        (ValueError, "labels must be in 0..2", {"labels": torch.tensor([0, 1, 3])}),
        (ValueError, r"shapes \(N, C\) and \(N,\)", {"labels": torch.tensor([0, 1])}),
    ],
)
def test_wrong_arguments_are_named(error, match, arguments):
    inputs = torch.tensor([[-1.0, 0, 0, 1]] * 3)
    arguments = {"inputs": inputs, "labels": torch.zeros(3, dtype=torch.int64), "radius": 0.1, **arguments}
    with pytest.raises(error, match=match):
        pgd_l2(nn.Linear(4, 3), **arguments)
