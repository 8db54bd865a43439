"""Stability, smoothness, sparseness and places of maps; none of which depends on a scale."""

import itertools
import re

import pytest
import torch
from explanation_cases import labels, linear_model, network_score, normal, score_of, standard_error, uniform

from orthobench.data import digit_blocks, null_block_mask
from orthobench.explanations import (
    ClassScore,
    block_share,
    gradient_input,
    random_maps,
    rank_distance,
    saliency,
    smoothgrad_distance,
    sparseness,
    stability,
)


def test_the_saliency_of_a_linear_score_is_stable_and_needs_no_smoothing():
    score = ClassScore(linear_model(normal(3, 16)), uniform(4, 1, 4, 4), labels(0, 1, 2, 0))
    assert stability(score).abs().max() < 1e-12
    assert smoothgrad_distance(score, samples=5).abs().max() < 1e-12


def test_a_map_that_says_nothing_is_not_stable():
    score = network_score(images=12)

    def constant(score, points, of):
        return torch.full((len(points), 4, 4), 0.1, dtype=torch.float64)

    assert stability(score, constant).tolist() == [1.0] * 12
    draws = torch.Generator().manual_seed(0)

    def anything(score, points, of):
        return torch.rand(len(points), 4, 4, generator=draws, dtype=torch.float64)

    found = stability(score, anything, draws=50)
    assert abs(float(found.mean()) - 1) < 3 * standard_error(found)


def test_it_is_the_mean_rank_distance_to_the_maps_of_points_nearby():
    score, points = network_score(), []

    def recorded(score, given, of):
        points.append(given)
        return saliency(score, given, of)

    found = stability(score, recorded, radius=0.3, draws=8, low=None, high=None)
    maps = saliency(score)
    assert torch.equal(points[0], score.images)
    for place, own in enumerate(points[1:]):
        expected = rank_distance(maps[place].expand(8, -1, -1), saliency(score, own, place)).mean()
        torch.testing.assert_close(found[place], expected)


def test_changes_are_uniform_in_the_ball_on_both_sides_and_of_each_image_their_own():
    images, points = torch.full((40, 1, 1, 3), 0.5, dtype=torch.float64), []

    def recorded(score, given, of):
        points.append(given)
        return gradient_input(score, given, of)

    score = score_of(lambda x: x.flatten(1) @ torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), images)
    stability(score, recorded, radius=0.4, draws=100)
    changes = (torch.cat(points[1:]) - 0.5).flatten(1)
    lengths = changes.norm(dim=1)
    assert float(lengths.max()) <= 0.4 * (1 + 1e-12)
    shares = (lengths / 0.4) ** 3  # uniform, in three dimensions
    assert abs(float(shares.mean()) - 0.5) < 4 * (1 / 12 / len(shares)) ** 0.5
    assert abs(float(shares.std()) - 12**-0.5) < 0.01
    assert float(changes.mean(0).abs().max()) < 4 * 0.4 * (0.2 / len(changes)) ** 0.5
    assert len(changes.unique(dim=0)) == len(changes)


def test_changes_stay_in_the_box():
    images, points = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64).view(1, 1, 1, 3), []

    def recorded(score, given, of):
        points.append(given)
        return gradient_input(score, given, of)

    score = score_of(lambda x: x.flatten(1).square().sum(1), images)
    stability(score, recorded, radius=0.4, draws=100)
    moved = torch.cat(points[1:])
    assert 0 == float(moved.min()) < float(moved.max()) == 1
    assert float((moved - images).flatten(1).norm(dim=1).max()) <= 0.4


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_no_figure_depends_on_the_scale_of_maps_or_scores(factor):
    score, maps = network_score(), normal(6, 4, 4)
    scaled = ClassScore(lambda x: factor * score.model(x), score.images, score.labels)
    torch.testing.assert_close(stability(scaled), stability(score))
    torch.testing.assert_close(stability(score, lambda *given: factor * saliency(*given)), stability(score))
    torch.testing.assert_close(smoothgrad_distance(scaled, samples=5), smoothgrad_distance(score, samples=5))
    others = random_maps(maps[:, None])
    torch.testing.assert_close(rank_distance(factor * maps, others), rank_distance(maps, others))
    torch.testing.assert_close(sparseness(factor * maps), sparseness(maps))
    block = uniform(6, 4, 4) < 0.5
    assert torch.equal(block_share(factor * maps, block, 0.3), block_share(maps, block, 0.3))


def test_distances_are_one_minus_the_rank_correlation():
    maps = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    others = torch.tensor([[10.0, 20.0, 21.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert rank_distance(maps, others).tolist() == [0, 2, 1]
    rounded = 0.1 * (1 + 1e-7 * uniform(1, 9))
    assert rank_distance(rounded, rounded).tolist() == [1.0]


def test_sparseness_is_the_mean_difference_of_pairs():
    maps = normal(3, 2, 4)
    for own, found in zip(maps.abs().flatten(1).tolist(), sparseness(maps).tolist(), strict=True):
        differences = sum(abs(a - b) for a, b in itertools.product(own, own))
        assert found == pytest.approx(differences / (2 * 8 * sum(own)))


def test_the_extremes_of_sparseness():
    one = torch.zeros(1, 10)
    one[0, 3] = -2.0
    torch.testing.assert_close(sparseness(one), torch.tensor([0.9], dtype=torch.float64))
    for constant in (0.0, 0.1, 1e300):
        assert sparseness(torch.full((1, 7), constant, dtype=torch.float64)).tolist() == [0.0]
    assert sparseness(torch.tensor([[1e-300, 1.0]], dtype=torch.float64)).tolist() == [0.5]


@pytest.mark.parametrize("null", ["empty", "frame"])
def test_a_score_of_one_block_has_its_important_pixels_there(null):
    part = digit_blocks(null).held_out
    images = part.inputs[:30].double()
    mask = null_block_mask(images, null)
    weight = 1 + uniform(8, 16)
    for read, expected in ((~mask, 0.0), (mask, 1.0)):
        # Which block is read depends on the image, as for a network that finds the digit.
        maps = saliency_of_blocks(images, read, weight)
        assert block_share(maps, mask).tolist() == [expected] * 30
        assert block_share(-maps, mask).tolist() == [expected] * 30


def saliency_of_blocks(images, read, weight):
    found = []
    for image, own in zip(images, read, strict=True):
        found.append(saliency(score_of(lambda x, own=own: (x[:, 0] * own * weight).flatten(1).sum(1), image[None]))[0])
    return torch.stack(found)


def test_equal_pixels_count_as_if_drawn_at_random():
    block = torch.tensor([[True, True, False, False, False, False, False, False, False, False]])
    assert block_share(torch.ones(1, 10), block, 0.5).tolist() == [0.2]
    values = torch.tensor([[3.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    # One for certain; of the four next, of which one is in the block, two.
    torch.testing.assert_close(block_share(values, block, 0.3), torch.tensor([1.5 / 3], dtype=torch.float64))
    assert block_share(values, block, 0.01).tolist() == [1.0]
    assert block_share(values, block, 1).tolist() == [0.2]


@pytest.mark.parametrize(
    ("measure", "error", "message"),
    [
        (lambda: stability(network_score(), draws=0), ValueError, "draws is 0"),
        (lambda: stability(network_score(), radius=0), ValueError, "radius must be a finite number > 0, got 0"),
        (lambda: stability(network_score(), high=0.5), ValueError, "inputs must be in the box"),
        (
            lambda: stability(network_score(), lambda score, points, of: points),
            ValueError,
            re.escape("maps must have the shape (6, 4, 4)"),
        ),
        (lambda: rank_distance(normal(2, 3), normal(2, 4)), ValueError, re.escape("shapes (2, 3) and (2, 4)")),
        (lambda: sparseness(normal(2, 3) / 0), ValueError, "maps must be finite"),
        (lambda: sparseness([1.0]), TypeError, "got list"),
        (lambda: block_share(normal(2, 3), torch.ones(2, 3)), ValueError, "block must be bool"),
        (lambda: block_share(normal(2, 3), torch.ones(2, 2).bool()), ValueError, re.escape("shape (2, 3)")),
        (lambda: block_share(normal(2, 3), torch.ones(2, 3).bool(), 0), ValueError, "share is 0"),
    ],
)
def test_what_can_not_be_measured_is_refused(measure, error, message):
    with pytest.raises(error, match=message):
        measure()
