"""The attack stays in ball and box, never beats the certificate, and comes near it where it is tight."""

import pytest
import torch
from segmentation_cases import Linear, integers, normal, orthogonal
from torch import nn

from orthobench.lipschitz import upper_bound
from orthobench.lipschitz.networks import layers_of
from orthobench.models import lipschitz_unet
from orthobench.segmentation import leaving_costs, most_lost, pgd_l2, pixel_radii


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wrong(model, images, labels):
    return ((model(images).argmax(1) != labels) & (labels != 255)).flatten(1).sum(1)


def lengths(points, images):
    return (points.double() - images.double()).flatten(1).norm(dim=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("radius", [0.0, 1e-3, 0.5, 5.0])
def test_points_are_in_the_ball_and_in_the_box(dtype, radius):
    model = Linear(orthogonal(12).to(dtype), 2)
    images = uniform(3, 1, 1, 12).to(dtype)
    labels = model(images).argmax(1)
    points = pgd_l2(model, images, labels, radius, steps=6, low=0, high=1)
    assert points.dtype == dtype
    assert (lengths(points, images) <= radius).all()
    assert points.min() >= 0
    assert points.max() <= 1


def test_of_an_orthogonal_map_it_takes_most_of_what_the_certificate_allows():
    found = allowed = 0
    for seed in range(3):
        model = Linear(orthogonal(60, seed), 3)
        images = normal(2, 1, 1, 60, seed=seed)
        logits = model(images).detach()
        labels = logits.argmax(1)
        labels[:, :, :2] = integers(3, 2, 1, 2, seed=seed)
        labels[:, :, -1] = 255
        costs = leaving_costs(logits, labels)
        for radius in (0.5, 1.0, 2.0):
            most = most_lost(costs, radius)
            points = pgd_l2(model, images, labels, radius, steps=30)
            lost = wrong(model, points, labels)
            assert (lost <= most).all()
            held = pixel_radii(costs) > radius
            assert (model(points).argmax(1) == labels)[held].all()
            already = wrong(model, images, labels)
            found, allowed = found + (lost - already).sum(), allowed + (most - already).sum()
    assert found > 0.9 * allowed


def test_a_certified_network_is_not_broken_and_more_is_lost_within_more():
    model = lipschitz_unet(0, **layers_of("cayley"), classes=3, width=8, depth=1, convolutions=1)
    images = uniform(2, 1, 8, 8).float()
    logits = model(images).detach()
    costs = leaving_costs(logits)
    constant = upper_bound(model, (1, 8, 8)).total
    labels = logits.argmax(1)
    before = 0
    for radius in (0.02, 0.1, 0.5):
        points = pgd_l2(model, images, labels, radius, steps=8, low=0, high=1, lipschitz_constant=constant)
        lost = wrong(model, points, labels)
        assert (lost <= most_lost(costs, radius, constant)).all()
        assert lost.sum() >= before
        before = lost.sum()
    assert before > 0
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


def test_an_image_is_attacked_alike_in_every_batch():
    model = Linear(orthogonal(24), 3)
    images = normal(3, 1, 1, 24)
    labels = model(images).argmax(1)
    together = pgd_l2(model, images, labels, 0.8, steps=5, restarts=7)
    alone = torch.cat([pgd_l2(model, images[i : i + 1], labels[i : i + 1], 0.8, 5, 7) for i in range(3)])
    torch.testing.assert_close(together, alone)
    each = pgd_l2(model, images, labels, torch.tensor([0.0, 0.8, 2.0]), steps=5)
    assert torch.equal(each[0], images[0])


def test_labels_that_are_ignored_are_not_attacked_and_their_pixels_count_for_nothing():
    matrix = torch.eye(8, dtype=torch.float64)
    model, images = Linear(matrix, 2), torch.zeros(1, 1, 1, 8, dtype=torch.float64)
    images[..., :4] = torch.tensor([0.1, 0.4, 0.6, 5.0])  # the margins of four pixels
    labels = torch.zeros(1, 1, 4, dtype=torch.int64)
    labels[0, 0, 0] = 255
    points = pgd_l2(model, images, labels, 0.5, steps=20)
    assert (points - images)[0, 0, 0, [0, 4]].abs().max() < 0.02
    assert wrong(model, points, labels).item() == most_lost(leaving_costs(model(images), labels), 0.5).item() == 1


def test_logits_that_are_not_finite_count_as_wrong_and_the_clean_ones_must_be():
    class Broken(nn.Module):
        def forward(self, images):
            logits = torch.cat([images, 1 - images], 1)
            return torch.where(images > 0.6, torch.nan, logits)

    images, labels = torch.full((1, 1, 1, 3), 0.55), torch.zeros(1, 1, 3, dtype=torch.int64)
    points = pgd_l2(Broken(), images, labels, 0.5, steps=30, restarts=9)
    assert not (Broken()(points).argmax(1) == 0).all() or Broken()(points).isnan().any()
    with pytest.raises(ValueError, match="NaN or infinity in image 0"):
        pgd_l2(Broken(), images + 0.2, labels, 0.5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"radius": -1.0}, "radius must be a finite number >= 0, got -1.0"),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"restarts": 0}, "restarts must be an integer of at least 1, got 0"),
        ({"low": 0.5}, "beyond low=0.5"),
        ({"lipschitz_constant": 0.0}, "lipschitz_constant must be a finite number > 0, got 0.0"),
        ({"labels": torch.zeros(1, 1, 3, dtype=torch.int64)}, r"\(1, 1, 6\)"),
        ({"labels": torch.full((1, 1, 6), 2)}, "labels must be in 0..1"),
    ],
)
def test_arguments_that_are_not_allowed_are_named_with_the_remedy(options, told):
    arguments = {"labels": torch.zeros(1, 1, 6, dtype=torch.int64), "radius": 0.1} | options
    with pytest.raises(ValueError, match=told):
        pgd_l2(Linear(orthogonal(12), 2), torch.zeros(1, 1, 1, 12, dtype=torch.float64), **arguments)
