"""Newton's step, saturation and distances to the boundary, of scores whose boundary is known."""

import math
import re

import pytest
import torch
from explanation_cases import labels, linear_model, network_score, normal, score_of, uniform

from orthobench.explanations import (
    ClassScore,
    boundary_distances,
    fooled,
    newton_lands,
    newton_points,
    saturation,
)
from orthobench.lipschitz import certified_radius
from orthobench.lipschitz.networks import layers_of
from orthobench.models import lipschitz_convnet

CENTRE, RADIUS = torch.full((1, 2, 3), 0.5, dtype=torch.float64), 0.3
# Outside of the ball around the centre, in the box [-2, 3].
OUTSIDE = CENTRE + torch.nn.functional.normalize(normal(12, 1, 2, 3).flatten(1)).view(12, 1, 2, 3) * (
    0.4 + uniform(12, 1, 1, 1)
)
BOX = {"low": -2.0, "high": 3.0}


def ball_score(images=OUTSIDE):
    """The signed distance from a ball, positive outside: 1-Lipschitz, of which the gradient knows everything."""
    return score_of(lambda x: (x - CENTRE).flatten(1).norm(dim=1) - RADIUS, images)


def distances_to_ball():
    return (OUTSIDE - CENTRE).flatten(1).norm(dim=1) - RADIUS


def test_of_a_signed_distance_newtons_point_is_the_projection_and_all_distances_agree():
    score, exact = ball_score(), distances_to_ball()
    projected = CENTRE + (OUTSIDE - CENTRE) * (RADIUS / (exact + RADIUS)).view(-1, 1, 1, 1)
    torch.testing.assert_close(newton_points(score), projected)
    assert float(newton_lands(score).max()) < 1e-9
    torch.testing.assert_close(saturation(score), torch.ones(12, dtype=torch.float64))
    found = boundary_distances(score, **BOX)
    torch.testing.assert_close(found.certified, exact)
    torch.testing.assert_close(found.newton, exact)
    torch.testing.assert_close(found.attacked, exact, rtol=1e-3, atol=1e-3)
    assert not found.refuted.any()
    assert float((1 - found.tightness).abs().max()) < 2e-2
    torch.testing.assert_close(found.tightness, found.newton_excess)


@pytest.mark.parametrize(("reach", "expected"), [(0.999, False), (1.001, True), (1.5, True)])
def test_the_class_changes_beyond_newtons_point(reach, expected):
    linear = ClassScore(linear_model(normal(2, 6)), uniform(8, 1, 2, 3), labels(0, 1, 0, 1, 0, 1, 0, 1))
    for score in (ball_score(), linear):
        right = score.right
        assert int(right.sum()) >= 3
        assert fooled(score, newton_points(score, reach))[right].tolist() == [expected] * int(right.sum())


def test_of_several_classes_the_step_leads_to_the_rival():
    images = uniform(9, 2, 3, 3)
    model = linear_model(normal(4, 18))
    score = ClassScore(model, images, model(images).argmax(1))
    assert float(newton_lands(score).max()) < 1e-9
    beyond = model(newton_points(score, 1.001))
    torch.testing.assert_close(score.values(newton_points(score, 2.0)), -score.values(images))
    nearest = [int(each.argmax()) for each in beyond]
    assert all(k != y for k, y in zip(nearest, score.labels.tolist(), strict=True))


def test_a_step_is_clipped_to_the_box_where_there_is_one():
    score = ball_score(uniform(5, 1, 2, 3))
    free, boxed = newton_points(score, 8.0), newton_points(score, 8.0, low=0.0, high=1.0)
    assert float(free.min()) < 0
    assert float(free.max()) > 1
    assert torch.equal(boxed, free.clamp(0, 1))


def test_where_the_gradient_is_zero_the_image_stays():
    score = score_of(lambda x: x.flatten(1).square().sum(1) + 1, torch.zeros(2, 1, 2, 2, dtype=torch.float64))
    assert torch.equal(newton_points(score), score.images)
    assert newton_lands(score).tolist() == [1.0, 1.0]
    assert saturation(score).tolist() == [0.0, 0.0]
    found = boundary_distances(score, steps=3, restarts=1)
    assert found.newton.tolist() == [math.inf] * 2
    assert found.attacked.tolist() == [math.inf] * 2
    assert found.tightness.isnan().all()


def test_a_gradient_that_almost_vanishes_leads_to_where_the_score_is_finite():
    images = torch.full((1, 1, 1, 2), 0.5)
    score = score_of(lambda x: 1 + 1e-20 * x.flatten(1).sum(1) + 1e-30 * x.flatten(1).square().sum(1), images)
    assert newton_points(score).tolist() == [[[[-1e9, -1e9]]]]
    assert newton_lands(score).tolist() == [1.0]


@pytest.mark.parametrize(("combine", "sign"), [(torch.maximum, 1), (torch.minimum, -1)])
def test_newtons_step_is_no_longer_than_the_distance_for_convex_and_no_shorter_for_concave_scores(combine, sign):
    """s = max(a x + 1, b x + 1) is positive but where both are negative; of min, where one is."""
    slopes, images = normal(2, 2), 0.1 * normal(20, 1, 1, 2)
    score = score_of(lambda x: combine(x.flatten(1) @ slopes[0] + 1, x.flatten(1) @ slopes[1] + 1), images)
    assert score.right.all()
    exact = [distance_to_negative(point, slopes, both=sign > 0) for point in images.flatten(1)]
    exact = torch.tensor(exact, dtype=torch.float64)
    found = boundary_distances(score, float(slopes.norm(dim=1).max()), low=-50.0, high=50.0, steps=200)
    ratios = found.newton / exact
    assert float((sign * (1 - ratios)).min()) > -1e-9
    assert float((sign * (1 - ratios)).max()) > 0.01
    # The attack can only be an upper bound of the distance; what is certified a lower one.
    assert (found.attacked >= exact * (1 - 1e-6)).all()
    assert (found.certified <= exact * (1 + 1e-9)).all()


def distance_to_negative(point, slopes, both):
    """Exact distance of a point of the plane to where both lines, or one of them, are negative."""
    gaps = (slopes @ point + 1) / slopes.norm(dim=1)
    if not both:
        return float(gaps.min())
    candidates = [point - max(float(gap), 0) * slope / slope.norm() for gap, slope in zip(gaps, slopes, strict=True)]
    candidates.append(torch.linalg.solve(slopes, -torch.ones(2, dtype=torch.float64)))
    inside = [each for each in candidates if float((slopes @ each + 1).max()) <= 1e-9]
    return min(float((each - point).norm()) for each in inside)


@pytest.mark.parametrize("kind", ["margin", "logit"])
def test_a_network_with_a_lipschitz_constant_of_one_never_saturates_by_more(kind):
    images = uniform(30, 1, 8, 8).float()
    score = ClassScore(lipschitz_convnet(0, **layers_of("cayley"), width=8), images, torch.arange(30) % 10, kind)
    found = saturation(score)
    assert float(found.min()) > 0.05
    assert float(found.max()) <= 1 + 1e-5
    torch.testing.assert_close(saturation(score, 0.5), 2 * found)


def test_a_constant_that_is_half_the_truth_is_refuted():
    found = boundary_distances(ball_score(), 0.5, **BOX)
    assert found.refuted.all()
    assert float(found.tightness.min()) > 1.9
    torch.testing.assert_close(saturation(ball_score(), 0.5), torch.full((12,), 2.0, dtype=torch.float64))


def test_certificate_and_distances_are_those_of_the_library_and_wrong_images_have_none():
    score = network_score(images=10)
    wrong = ClassScore(score.model, score.images, (score.labels + 1) % 3)
    found = boundary_distances(score, 3.0, low=-1.0, high=2.0, steps=30)
    torch.testing.assert_close(found.certified, certified_radius(score.logits, score.labels, 3.0))
    gradient = score.gradients(score.images)[1].flatten(1).norm(dim=1)
    torch.testing.assert_close(found.newton, score.values(score.images) / gradient)
    assert not wrong.right.any()
    none = boundary_distances(wrong, 3.0, steps=2)
    assert none.tightness.isnan().all()
    assert none.newton_excess.isnan().all()
    assert not none.refuted.any()


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_counterfactuals_do_not_change_with_the_scale_of_the_score(factor):
    score = network_score()
    scaled = ClassScore(lambda x: factor * score.model(x), score.images, score.labels)
    torch.testing.assert_close(newton_points(scaled, 1.5), newton_points(score, 1.5))
    torch.testing.assert_close(newton_lands(scaled), newton_lands(score))
    torch.testing.assert_close(saturation(scaled, factor * 2.0), saturation(score, 2.0))
    found, expected = (boundary_distances(each, 2.0 * by, steps=30) for each, by in ((scaled, factor), (score, 1)))
    for name in ("tightness", "newton_excess", "certified"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), equal_nan=True, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda: newton_points(network_score(), 0), "reach must be a finite number > 0, got 0; 1 is Newton's step"),
        (lambda: newton_points(network_score(), low=0.0), "low and high are 0.0 and None: give both"),
        (lambda: newton_points(network_score(), low=0.5, high=1.0), re.escape("outside of the box 0.5..1.0")),
        (lambda: newton_points(network_score(kind="logit")), "the score is a logit, which has no boundary"),
        (lambda: boundary_distances(network_score(kind="logit")), "the score is a logit"),
        (lambda: boundary_distances(network_score(), 0), "lipschitz_constant must be a finite number > 0, got 0"),
        (lambda: boundary_distances(network_score(), high=0.5), "inputs must be in the box"),
        (lambda: saturation(network_score(), -1), "lipschitz_constant must be a finite number > 0, got -1"),
        (lambda: fooled(network_score(), uniform(2, 1, 4, 4)), "2 points of 6 images"),
    ],
)
def test_what_has_no_counterfactual_is_refused(measure, message):
    with pytest.raises(ValueError, match=message):
        measure()
