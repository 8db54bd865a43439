"""Optimal plans against brute force, and what the gradient of the optimum says of them."""

import itertools
import re

import pytest
import torch
from explanation_cases import linear_model, normal, score_of, uniform

from orthobench.explanations import (
    ClassScore,
    nearest_class,
    transport_cosine,
    transport_cosine_of_means,
    transport_plan,
)


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_the_plan_is_the_permutation_of_least_cost(count):
    sources, targets = normal(count, 1, 2, 2), normal(count, 1, 2, 2, seed=1)
    costs = [[float((x - z).norm()) for z in targets] for x in sources]
    least = min(itertools.permutations(range(count)), key=lambda order: sum(costs[i][k] for i, k in enumerate(order)))
    assert transport_plan(sources, targets).tolist() == list(least)


def test_of_a_translation_the_plan_is_the_translation_and_the_optimum_points_along_it():
    sources, way = normal(30, 1, 2, 3), 20 * torch.ones(1, 2, 3, dtype=torch.float64)
    mixed = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    targets = (sources + way)[mixed]
    matches = targets[transport_plan(sources, targets)]
    torch.testing.assert_close(matches, sources + way)
    optimum = score_of(lambda x: -x.flatten(1) @ way.flatten() / way.norm(), sources)
    expected = torch.ones(30, dtype=torch.float64)
    torch.testing.assert_close(transport_cosine(optimum, matches), expected)
    torch.testing.assert_close(transport_cosine_of_means(sources, matches), expected)
    backwards = ClassScore(optimum.model, sources, torch.ones(30, dtype=torch.int64))
    torch.testing.assert_close(transport_cosine(backwards, matches), -expected)


def test_the_cosines_are_those_of_each_image():
    images, matches, slope = normal(6, 2, 2, 2), normal(6, 2, 2, 2, seed=1), normal(3, 8, seed=2)
    targets, rivals = torch.zeros(6, dtype=torch.int64), torch.full((6,), 2)
    score = ClassScore(linear_model(slope), images, targets, rivals=rivals)
    ways = (matches - images).flatten(1)
    direction = slope[2] - slope[0]
    torch.testing.assert_close(transport_cosine(score, matches), ways @ direction / ways.norm(dim=1) / direction.norm())
    mean = ways.mean(0)
    expected = ways @ mean / ways.norm(dim=1) / mean.norm()
    torch.testing.assert_close(transport_cosine_of_means(images, matches), expected)
    scaled = ClassScore(linear_model(1e3 * slope), images, targets, rivals=rivals)
    torch.testing.assert_close(transport_cosine(scaled, matches), transport_cosine(score, matches))


def test_no_direction_is_no_credit_and_no_way_no_figure():
    images = normal(2, 1, 2, 2)
    flat = score_of(lambda x: 0 * x.flatten(1).sum(1), images)
    matches = images.clone()
    matches[0] += 1
    found = transport_cosine(flat, matches)
    assert found[0] == 0
    assert found[1].isnan()


def test_the_nearest_class_is_that_of_brute_force(monkeypatch):
    points, images, classes = uniform(20, 1, 3, 3), uniform(50, 1, 3, 3, seed=1), torch.arange(50) % 4
    expected = [int(classes[min(range(50), key=lambda k: float((images[k] - point).norm()))]) for point in points]
    assert nearest_class(points, images, classes).tolist() == expected
    monkeypatch.setattr("orthobench.explanations.transport._ENTRIES", 60)  # a point at a time
    assert nearest_class(points, images, classes).tolist() == expected


def test_near_points_are_told_apart_far_from_the_origin():
    images = 1e6 + 1e-3 * normal(60, 1, 3, 3)
    assert nearest_class(images + 1e-5, images, torch.arange(60)).tolist() == list(range(60))


@pytest.mark.parametrize(
    ("measure", "error", "message"),
    [
        (lambda: transport_plan(normal(3, 2), normal(4, 2)), ValueError, "take as many of the one class as of the"),
        (lambda: transport_plan(normal(3, 2), normal(3, 3)), ValueError, re.escape("got (3, 2) and (3, 3)")),
        (lambda: transport_plan(normal(0, 2), normal(0, 2)), ValueError, re.escape("got (0, 2)")),
        (lambda: transport_plan([1.0], normal(1, 2)), TypeError, "sources must be a floating-point tensor"),
        (lambda: transport_plan(normal(1, 2), normal(1, 2) / 0), ValueError, "targets must be finite"),
        (lambda: transport_cosine_of_means(normal(3, 2), normal(2, 2)), ValueError, re.escape("(3, 2) and (2, 2)")),
        (lambda: nearest_class(normal(2, 3), normal(2, 2), torch.zeros(2)), ValueError, re.escape("(2, 3), (2, 2)")),
        (lambda: nearest_class(normal(2, 3), normal(2, 3), torch.zeros(3)), ValueError, re.escape("and (3,)")),
        (lambda: nearest_class(normal(2, 3), normal(0, 3), torch.zeros(0)), ValueError, "M >= 1"),
        (
            lambda: transport_cosine(score_of(lambda x: x.flatten(1).sum(1), normal(2, 1, 2)), normal(3, 1, 2)),
            ValueError,
            "3 points of 2 images",
        ),
    ],
)
def test_what_can_not_be_transported_is_refused(measure, error, message):
    with pytest.raises(error, match=message):
        measure()
