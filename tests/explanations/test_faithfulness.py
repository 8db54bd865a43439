"""muFidelity, deletion and insertion against closed forms; and that maps that say nothing get nothing."""

import itertools
import re

import pytest
import torch
from explanation_cases import (
    labels,
    linear_model,
    network_score,
    normal,
    score_of,
    small_network,
    standard_error,
    uniform,
)
from scipy.stats import spearmanr

from orthobench.explanations import (
    ClassScore,
    deletion_gain,
    gradient_input,
    insertion_gain,
    make_baseline,
    mu_fidelity,
    random_maps,
    replacement_curve,
    saliency,
)

GAINS = [deletion_gain, insertion_gain]


def positive_linear_score(images=40, pixels=(8, 8)):
    """A score that falls whatever is taken away: with sets of random size it rewards every positive map."""
    points = uniform(images, 1, *pixels, seed=3)
    weight = 1 + 0.5 * normal(1, points[0].numel(), seed=4)
    return score_of(lambda x: x.flatten(1) @ weight[0], points)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.02, 0.2, 0.5, 1.0])
def test_gradient_times_input_of_a_linear_score_is_exactly_faithful(dtype, size):
    images = uniform(6, 3, 8, 8).to(dtype)
    score = ClassScore(linear_model(normal(4, 192), normal(4)), images, labels(0, 1, 2, 3, 0, 1))
    found = mu_fidelity(score, gradient_input(score), make_baseline("zero", images), size=size)
    assert float((1 - found).abs().max()) < 1e-5
    assert float(mu_fidelity(score, saliency(score), make_baseline("zero", images), size=size).max()) < 0.9
    torch.testing.assert_close(
        mu_fidelity(score, -gradient_input(score), make_baseline("zero", images), size=size), -found
    )


def test_an_additive_score_is_explained_by_its_terms_for_any_baseline():
    images, baseline = uniform(5, 1, 4, 4), uniform(5, 1, 4, 4, seed=1)

    def terms(points):
        return torch.sin(5 * points) + points**3

    score = score_of(lambda points: terms(points).flatten(1).sum(1), images)
    found = mu_fidelity(score, (terms(images) - terms(baseline))[:, 0], baseline)
    torch.testing.assert_close(found, torch.ones(5, dtype=torch.float64))


def test_it_is_scipys_correlation_over_sets_of_one_size_that_are_uniform():
    network, seen = small_network(channels=2), []

    def model(points):
        seen.append(points.detach())
        return network(points)

    images, baseline = uniform(2, 2, 4, 4), uniform(2, 2, 4, 4, seed=1)
    score = ClassScore(model, images, labels(0, 1))
    maps = normal(2, 4, 4)
    seen.clear()
    found = mu_fidelity(score, maps, baseline, size=0.25, subsets=500)
    copies = torch.cat(seen)[2:]
    for place, own in enumerate(copies.split(500)):
        masks = (own == baseline[place]).all(1)
        assert torch.equal(masks, (own != images[place]).all(1))
        assert masks.flatten(1).sum(1).tolist() == [4] * 500
        chosen = masks.double().mean(0)
        assert float((chosen - 0.25).abs().max()) < 4 * (0.25 * 0.75 / 500) ** 0.5
        sums = (masks * maps[place]).flatten(1).sum(1)
        falls = score.values(images)[place] - score.values(own, place)
        torch.testing.assert_close(float(found[place]), float(spearmanr(sums, falls).statistic))


def test_sums_that_are_equal_but_for_rounding_are_ties():
    """Of a map of two values, what counts is how many of a set have the larger one."""
    network, seen = small_network(), []

    def model(points):
        seen.append(points.detach())
        return network(points)

    images = uniform(1, 1, 4, 4)
    score = ClassScore(model, images, labels(0))
    larger = uniform(1, 4, 4, seed=2) < 0.4
    seen.clear()
    found = mu_fidelity(score, 0.1 + 0.7 * larger.double(), make_baseline("zero", images), size=0.4)
    copies = torch.cat(seen)[1:]
    counts = ((copies[:, 0] == 0) & larger).flatten(1).sum(1)
    assert float(found) == pytest.approx(float(spearmanr(counts, -score.values(copies, 0)).statistic), abs=1e-12)


@pytest.mark.parametrize("constant", [0.0, -0.3, 1e-30])
def test_a_constant_map_is_worth_nothing(constant):
    score = positive_linear_score(images=20)
    maps = torch.full((20, 8, 8), constant, dtype=torch.float64)
    rounded = maps.float() * (1 + 1e-7 * normal(20, 8, 8).float())
    for baseline in ("zero", "uniform"):
        replaced = make_baseline(baseline, score.images)
        assert mu_fidelity(score, maps, replaced, subsets=50).tolist() == [0.0] * 20
        assert mu_fidelity(score, rounded, replaced, subsets=50).tolist() == [0.0] * 20
        for gains in GAINS:
            found = gains(score, maps, replaced).gain
            assert abs(float(found.nanmean())) < 3 * standard_error(found[~found.isnan()])


def test_with_sets_of_random_size_a_constant_map_would_be_worth_a_lot():
    """What the metric is protected from: the score and this test's own sets, of each pixel with probability 0.2."""
    score, generator = positive_linear_score(), torch.Generator().manual_seed(0)
    image = score.images[0]
    masks = torch.rand(200, 8, 8, generator=generator) < 0.2
    falls = score.values(score.images)[0] - score.values(torch.where(masks[:, None], 0, image), 0)
    assert float(spearmanr(masks.flatten(1).sum(1), falls).statistic) > 0.5


def test_random_maps_are_worth_nothing_on_average():
    score = positive_linear_score()
    maps = random_maps(score.images)
    for name in ("zero", "uniform", "blur"):
        baseline = make_baseline(name, score.images)
        found = mu_fidelity(score, maps, baseline)
        assert abs(float(found.mean())) < 3 * standard_error(found)
        for gains in GAINS:
            found = gains(score, maps, baseline).gain
            found = found[~found.isnan()]
            assert abs(float(found.mean())) < 3 * standard_error(found)


def test_a_score_that_nothing_changes_is_explained_by_nothing():
    images = uniform(3, 1, 4, 4)
    score = score_of(lambda points: 0 * points.flatten(1).sum(1) + 1, images)
    baseline = make_baseline("zero", images)
    assert mu_fidelity(score, random_maps(images), baseline).tolist() == [0.0] * 3
    gains = deletion_gain(score, random_maps(images), baseline)
    assert gains.gain.isnan().all()
    assert gains.mean() != gains.mean()


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_figures_do_not_change_with_the_scale_of_maps_or_scores(factor):
    score = network_score()
    scaled = ClassScore(lambda x: factor * score.model(x), score.images, score.labels)
    baseline = make_baseline("uniform", score.images, seed=2)
    maps = gradient_input(score)
    for metric in (mu_fidelity, lambda *given: deletion_gain(*given).gain, lambda *given: insertion_gain(*given).gain):
        expected = metric(score, maps, baseline)
        torch.testing.assert_close(metric(score, factor * maps, baseline), expected, equal_nan=True)
        torch.testing.assert_close(metric(scaled, gradient_input(scaled), baseline), expected, equal_nan=True)
    means = [deletion_gain(each, maps, baseline).mean() for each in (score, scaled)]
    assert means[0] == pytest.approx(means[1])


def test_deletion_of_a_linear_score_is_a_sorted_sum():
    images = uniform(4, 2, 3, 3)
    score = ClassScore(linear_model(normal(3, 18), normal(3)), images, labels(0, 1, 2, 0))
    maps, values = gradient_input(score), score.values(images)
    found = deletion_gain(score, maps, make_baseline("zero", images), steps=9, ties=1)
    for place in range(4):
        added = maps[place].flatten().sort(descending=True).values.cumsum(0)
        curve = values[place] - torch.cat([torch.zeros(1), added])
        area = sum((a + b) / 2 / 9 for a, b in itertools.pairwise(curve.tolist()))
        assert float(found.area[place]) == pytest.approx(area)
        assert float(found.unit[place]) == pytest.approx(float(added[-1]))


def test_on_average_random_orders_of_a_linear_score_lie_on_the_chord():
    images = uniform(1, 1, 4, 4)
    score = score_of(lambda points: points.flatten(1) @ (1 + uniform(16)), images)
    found = insertion_gain(score, random_maps(images), make_baseline("zero", images), random_orders=2000, steps=16)
    middle = float(score.values(images)) / 2
    assert float(found.random) == pytest.approx(middle, rel=0.02)
    own = insertion_gain(score, gradient_input(score), make_baseline("zero", images), random_orders=2000, steps=16)
    assert torch.equal(own.random, found.random)  # of the model alone, and paired
    assert float(own.gain) > 0.05


def test_inserting_in_one_order_is_deleting_in_the_other():
    score = network_score(channels=2)
    image, baseline = score.images[1], uniform(2, 4, 4, seed=5)
    orders = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(seed)) for seed in range(3)])
    counts = list(range(17))
    inserted = replacement_curve(score, baseline, image, orders, counts, 1)
    deleted = replacement_curve(score, image, baseline, orders.flip(1), counts, 1)
    torch.testing.assert_close(inserted, deleted.flip(1))
    torch.testing.assert_close(inserted[:, -1], score.values(score.images)[1].expand(3))


def test_of_an_additive_score_insertion_and_deletion_add_up():
    image, baseline = uniform(1, 4, 4), uniform(1, 4, 4, seed=1)
    score = score_of(lambda points: torch.sin(9 * points).flatten(1).sum(1), image[None])
    orders = torch.randperm(16, generator=torch.Generator().manual_seed(0))[None]
    curves = [replacement_curve(score, *ends, orders, range(17), 0) for ends in ((image, baseline), (baseline, image))]
    both = score.values(torch.stack([image, baseline]), 0).sum()
    torch.testing.assert_close(sum(curves), both.expand(1, 17))


def test_uneven_steps_have_the_area_under_their_own_shares():
    """7 pixels in 3 steps: 0, 2, 5 and 7 of them."""
    images, pixels = uniform(1, 1, 7), torch.arange(7, 0, -1, dtype=torch.float64)
    score = score_of(lambda points: points.flatten(1).square().sum(1), images)
    found = deletion_gain(score, pixels[None], make_baseline("zero", images), steps=3, ties=1)
    left = [2**0.5 * float(images.flatten()[count:].square().sum()) for count in (0, 2, 5, 7)]
    area = (2 * (left[0] + left[1]) + 3 * (left[1] + left[2]) + 2 * (left[2] + left[3])) / 2 / 7
    assert float(found.area) == pytest.approx(area)


def test_the_mean_gain_is_weighted_by_what_there_is_to_gain():
    score = network_score()
    gains = insertion_gain(score, saliency(score), make_baseline("uniform", score.images))
    counted = gains.unit > 0
    assert 0 < int(counted.sum()) < len(score)
    assert torch.equal(gains.gain.isnan(), ~counted)
    weights = gains.unit[counted]
    assert gains.mean() == pytest.approx(float((gains.gain[counted] * weights).sum() / weights.sum()))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"size": 0}, ValueError, "size is 0: give a number > 0 and <= 1"),
        ({"size": 1.5}, ValueError, "size is 1.5"),
        ({"size": "all"}, TypeError, "size is 'all'"),
        ({"subsets": 1}, ValueError, "subsets is 1: give an integer >= 2"),
        ({"maps": normal(6, 1, 4, 4)}, ValueError, re.escape("maps must have the shape (6, 4, 4), one number a pixel")),
        ({"maps": normal(5, 4, 4)}, ValueError, re.escape("got (5, 4, 4)")),
        ({"maps": torch.ones(6, 4, 4).long()}, TypeError, "maps must be a floating-point tensor"),
        ({"maps": normal(6, 4, 4) / 0}, ValueError, "maps must be finite, got NaN or infinity at place 0 of 6"),
    ],
)
def test_what_can_not_be_judged_is_refused(change, error, message):
    score = network_score()
    arguments = {"maps": normal(6, 4, 4), "baseline": make_baseline("zero", score.images)} | change
    with pytest.raises(error, match=message):
        mu_fidelity(score, **arguments)


def test_images_of_one_pixel_and_wrong_numbers_of_steps_are_refused():
    score = score_of(lambda points: points.flatten(1).sum(1), uniform(2, 1, 1))
    with pytest.raises(ValueError, match="an image has one pixel"):
        mu_fidelity(score, normal(2, 1), torch.tensor(0.0))
    for name in ("steps", "ties", "random_orders"):
        with pytest.raises(ValueError, match=f"{name} is 0: give an integer >= 1"):
            deletion_gain(score, normal(2, 1), torch.tensor(0.0), **{name: 0})


SEVERAL = [
    mu_fidelity,
    lambda *given: deletion_gain(*given, ties=2, random_orders=3).gain,
    lambda *given: insertion_gain(*given, ties=2, random_orders=3).gain,
]


@pytest.mark.parametrize("metric", SEVERAL, ids=["mu_fidelity", "deletion", "insertion"])
def test_several_maps_at_once_have_the_figures_of_each_by_itself(metric):
    score = network_score(channels=2)
    baseline = make_baseline("zero", score.images)
    maps = [saliency(score), gradient_input(score), torch.ones(6, 4, 4), random_maps(score.images)]
    alone = torch.stack([metric(score, each, baseline) for each in maps])
    torch.testing.assert_close(metric(score, maps, baseline), alone, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_several_maps_cost_the_evaluations_of_one():
    counted = []

    def model(points):
        counted.append(len(points))
        return linear_model(normal(3, 16))(points)

    score = ClassScore(model, uniform(2, 1, 4, 4), labels(0, 1))
    maps, spent = random_maps(score.images), []
    for given in (maps, [maps, maps, maps]):
        counted.clear()
        mu_fidelity(score, given, torch.tensor(0.0), subsets=30)
        spent.append(sum(counted))
    assert spent[0] == spent[1] > 60


@pytest.mark.parametrize("gain", GAINS)
def test_between_the_mean_curves_is_the_mean_gain_and_they_lead_from_the_baseline_to_the_image(gain):
    score = network_score()
    gains = gain(score, [saliency(score), gradient_input(score)], make_baseline("uniform", score.images), steps=5)
    assert 0 < int((gains.unit > 0).sum()) < len(score)
    curves, random = gains.mean_curves()
    torch.testing.assert_close(gains.sign * torch.trapezoid(curves - random, gains.shares), gains.mean())
    ends = (1.0, 0.0) if gain is deletion_gain else (0.0, 1.0)
    for each in (*curves, random):
        assert (float(each[0]), float(each[-1])) == pytest.approx(ends, abs=1e-12)


def test_no_map_at_all_is_refused():
    score = network_score()
    for metric in (mu_fidelity, *GAINS):
        with pytest.raises(ValueError, match="maps is an empty list: give at least one map of each image"):
            metric(score, [], torch.tensor(0.0))
        with pytest.raises(ValueError, match=re.escape("got (5, 4, 4)")):
            metric(score, [saliency(score), normal(5, 4, 4)], torch.tensor(0.0))
