"""Attribution maps against closed forms."""

import pytest
import torch
from explanation_cases import labels, linear_model, network_score, normal, score_of, standard_error, uniform

from orthobench.explanations import (
    MAPS,
    ClassScore,
    gradient_input,
    integrated_gradients,
    make_baseline,
    random_maps,
    saliency,
    smoothgrad,
)


@pytest.mark.parametrize("kind", ["margin", "logit"])
def test_of_a_linear_score_all_maps_are_known(kind):
    weight, images = normal(3, 18), uniform(4, 2, 3, 3)
    score = ClassScore(linear_model(weight, normal(3)), images, labels(0, 1, 2, 0), kind)
    slopes = weight[score.labels] - (weight[score.rivals] if kind == "margin" else 0)
    slopes = slopes.view(4, 2, 3, 3)
    baseline = make_baseline("uniform", images)
    torch.testing.assert_close(saliency(score), slopes.abs().amax(1))
    torch.testing.assert_close(smoothgrad(score, samples=3), slopes.abs().amax(1))
    torch.testing.assert_close(gradient_input(score), (slopes * images).sum(1))
    torch.testing.assert_close(integrated_gradients(score, steps=1), (slopes * images).sum(1))
    expected = (slopes * (images - baseline)).sum(1)
    torch.testing.assert_close(integrated_gradients(score, baseline=baseline, steps=7), expected)


def test_maps_of_points_are_of_the_class_of_their_image():
    score = network_score()
    point = uniform(1, 1, 4, 4, seed=9)
    for function in MAPS.values():
        own = function(score, point, 2)
        there = ClassScore(score.model, point, score.labels[2:3], rivals=score.rivals[2:3])
        again = function(there) if function is not smoothgrad else function(score, point.expand(2, -1, -1, -1), 2)[1:]
        torch.testing.assert_close(own, again)


def test_integrated_gradients_add_up_to_the_change_of_the_score():
    score = network_score(channels=2)
    baseline = make_baseline("uniform", score.images, seed=1)
    change = score.values(score.images) - score.values(baseline)
    errors = [
        float((integrated_gradients(score, baseline=baseline, steps=steps).flatten(1).sum(1) - change).abs().max())
        for steps in (5, 50)
    ]
    assert errors[1] < errors[0] / 50  # of second order in the length of a step
    assert errors[1] < 1e-4


def test_integrated_gradients_are_exact_where_breakpoints_are_in_the_middle_of_a_step():
    images = uniform(5, 1, 2, 3)
    middle = images[0].flatten() / 2

    def piecewise(points):  # the kinks of the first image's segment from 0 are at its middle
        return (points.flatten(1) - middle).relu().sum(1)

    score = score_of(piecewise, images[:1])
    expected = 2**0.5 * (images[0] - images[0] / 2)[0]  # each pixel adds its own
    torch.testing.assert_close(integrated_gradients(score, steps=7)[0], expected)


def test_smoothgrad_is_the_mean_gradient_under_gaussian_noise():
    """The gradient of x^3 is 3 x^2, its mean 3 (x^2 + sigma^2)."""
    images, noise = torch.full((1, 1, 20, 20), 0.3, dtype=torch.float64), 0.25
    score = score_of(lambda points: points.flatten(1).pow(3).sum(1), images)
    found = smoothgrad(score, noise=noise, samples=40).flatten() / 2**0.5
    assert abs(float(found.mean()) - 3 * (0.3**2 + noise**2)) < 4 * standard_error(found)
    torch.testing.assert_close(smoothgrad(score, noise=1e-12, samples=2), saliency(score))


def test_the_noise_of_smoothgrad_is_of_each_image_its_own():
    """The mean gradient of the square of a pixel is twice the pixel's mean."""
    score = score_of(lambda points: points.square().flatten(1).sum(1), torch.full((4, 1, 3, 3), 5.0).double())
    assert len(smoothgrad(score, samples=2).unique()) == 36
    few = smoothgrad(score, score.images[:2], labels(0, 1), samples=2)
    assert torch.equal(smoothgrad(score, samples=2)[:2], few)
    assert not torch.equal(smoothgrad(score, samples=2, seed=1), smoothgrad(score, samples=2))


def test_smoothgrad_averages_before_it_takes_absolute_values():
    """Gradients +1 and -1 beside a kink cancel out."""
    images = torch.zeros(1, 1, 10, 10, dtype=torch.float64)
    score = score_of(lambda points: points.abs().flatten(1).sum(1), images)
    assert float(smoothgrad(score, samples=100).mean()) < 0.3 * 2**0.5


def test_random_maps_are_uniform_and_of_each_image_its_own():
    maps = random_maps(torch.zeros(100, 3, 8, 8))
    assert maps.shape == (100, 8, 8)
    assert abs(float(maps.mean()) - 0.5) < 4 * (1 / 12 / maps.numel()) ** 0.5
    assert torch.equal(maps[:3], random_maps(torch.zeros(3, 1, 8, 8)))
    assert len(maps.unique()) == maps.numel()


@pytest.mark.parametrize(
    ("function", "options", "error", "message"),
    [
        (smoothgrad, {"samples": 0}, ValueError, "samples is 0: give an integer >= 1"),
        (smoothgrad, {"noise": 0}, ValueError, "noise must be a finite number > 0, got 0"),
        (smoothgrad, {"seed": -1}, ValueError, "seed is -1"),
        (integrated_gradients, {"steps": 0}, ValueError, "steps is 0"),
        (integrated_gradients, {"steps": 2.5}, TypeError, "steps is 2.5"),
    ],
)
def test_options_out_of_range_are_refused(function, options, error, message):
    with pytest.raises(error, match=message):
        function(network_score(), **options)
