"""Geometry of boxes and class sets against bisection, pixels and definitions; detections and truths that can't be."""

import math

import numpy as np
import pytest
import torch
from detection_cases import random_boxes, random_pool

from orthobench.conformal.detection import Detections, Truths
from orthobench.conformal.detection.boxes import covered_share, giou, hausdorff, holds, iou, margin_needs, outer_boxes
from orthobench.conformal.detection.matching import running_match
from orthobench.conformal.detection.sets import class_needs, class_sets


def continuous_boxes(random, count):
    corners = random.uniform(0, 8, (count, 2))
    return np.concatenate([corners, corners + random.uniform(0.1, 6, (count, 2))], axis=1)


def test_the_hausdorff_distance_is_the_smallest_margin_that_holds_by_bisection():
    random = np.random.default_rng(0)
    true, predicted = continuous_boxes(random, 50), continuous_boxes(random, 50)
    low, high = np.full(50, -20.0), np.full(50, 20.0)
    for _ in range(60):
        middle = (low + high) / 2
        grown = predicted + middle[:, None] * np.array([-1, -1, 1, 1])
        inside = holds(grown, true)
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    assert hausdorff(true, predicted) == pytest.approx(high, abs=1e-9)


@pytest.mark.parametrize("margins", ["additive", "multiplicative"])
@pytest.mark.parametrize("make", [random_boxes, continuous_boxes])
def test_boxes_are_held_from_the_margin_that_they_need_on(margins, make):
    random = np.random.default_rng(1)
    arguments = (1,) if make is random_boxes else ()
    true, predicted = make(random, 2000, *arguments), make(random, 2000, *arguments)
    needs = margin_needs(true, predicted, margins)
    assert holds(outer_boxes(predicted, needs[:, None], margins), true).all()
    assert (covered_share(true, outer_boxes(predicted, needs[:, None], margins)) == 1).all()
    less = needs > 0
    assert not holds(outer_boxes(predicted, needs[:, None] * (1 - 1e-9), margins), true)[less].any()


def test_no_multiplicative_margin_mends_a_box_without_a_size_but_the_largest():
    point, true = np.array([2.0, 2, 2, 2]), np.array([1.0, 2, 3, 2.5])
    assert margin_needs(true, point, "multiplicative") == math.inf
    assert margin_needs(np.array([2.0, 2, 2, 2]), point, "multiplicative") == 0
    assert not holds(outer_boxes(point, 1e9, "multiplicative"), true)
    assert holds(outer_boxes(point, math.inf, "multiplicative"), true)


def test_shares_and_overlaps_are_those_of_pixels():
    random = np.random.default_rng(2)
    some, others = random_boxes(random, 100, 1), random_boxes(random, 100, 1)
    grid = np.stack(np.meshgrid(np.arange(14), np.arange(14), indexing="ij"), axis=-1) + 0.5

    def pixels(box):
        return ((grid > box[:2]) & (grid < box[2:])).all(-1)

    for one, other in zip(some, others, strict=True):
        a, b = pixels(one), pixels(other)
        hull = np.append(np.minimum(one, other)[:2], np.maximum(one, other)[2:])
        union = (a | b).sum()
        assert covered_share(one, other) == pytest.approx((a & b).sum() / a.sum())
        assert iou(one, other) == pytest.approx((a & b).sum() / union)
        assert giou(one, other) == pytest.approx((a & b).sum() / union - 1 + union / pixels(hull).sum())


def test_the_least_cost_of_giou_is_that_of_the_overlapping_box():
    true = np.array([0.0, 0, 4, 4])
    candidates = np.array([[20.0, 20, 24, 24], [5, 5, 9, 9], [1, 1, 5, 5], [0, 0, 4, 5]])
    assert running_match(1 - giou(true, candidates)[None]).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("kind", ["lac", "aps"])
def test_class_sets_are_nested_full_at_the_end_and_leave_the_probabilities_unchanged(kind):
    probabilities = np.random.default_rng(3).dirichlet(np.full(6, 0.5), 200)
    before, smaller = probabilities.copy(), np.zeros((200, 6), dtype=bool)
    for parameter in np.linspace(0, 1, 21):
        sets = class_sets(probabilities, parameter, kind)
        assert (sets >= smaller).all()
        smaller = sets
    assert sets.all()
    assert (probabilities == before).all()


def test_adaptive_sets_end_with_the_first_class_whose_sum_exceeds_the_parameter():
    random = np.random.default_rng(4)
    probabilities = random.multinomial(16, np.ones(5) / 5, 300) / 16
    for parameter in (0.0, 0.25, 0.5, 0.8125):
        for row, found in zip(probabilities, class_sets(probabilities, parameter, "aps"), strict=True):
            order, total, expected = np.argsort(-row, kind="stable"), 0.0, set()
            for each in order:
                expected.add(int(each))
                total += row[each]
                if total > parameter:
                    break
            assert set(np.flatnonzero(found).tolist()) == expected


def test_the_most_probable_class_alone_is_a_set_too():
    assert class_sets(np.array([[0.2, 0.4, 0.4]]), None, "lac").tolist() == [[False, True, False]]
    assert class_needs(np.ones((2, 1)), "lac").tolist() == [[0.0], [0.0]]


def test_lists_arrays_tensors_and_parts_of_them_are_the_same_detections():
    detections, truths = random_pool(np.random.default_rng(5), 12)
    tensors = Detections(
        *(torch.from_numpy(each) for each in (detections.boxes, detections.scores, detections.offsets)),
        torch.from_numpy(detections.probabilities),
        torch.from_numpy(detections.sizes),
    )
    chosen = [7, 2, 2, 11]
    rows = np.concatenate([np.flatnonzero(detections.image == each) for each in chosen])
    for each in (detections, tensors):
        assert each[chosen].boxes.tolist() == detections.boxes[rows].tolist()
        assert each[chosen].counts.tolist() == detections.counts[chosen].tolist()
        assert each[np.arange(12) < 3].scores.tolist() == each[:3].scores.tolist()
        assert each.above(0.3).boxes.tolist() == detections.boxes[detections.scores >= 0.3].tolist()
        assert len(each[5]) == 1
    assert (
        truths[chosen].labels.tolist()
        == np.concatenate([truths.labels[truths.image == each] for each in chosen]).tolist()
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Detections.of_images([[], [[4, 0, 0, 4]]], [[], [0.5]]),
            r"no negative size, got \[4.0, .* in image 1",
        ),
        (lambda: Truths.of_images([[[0, 0, 4, 0]]]), r"a positive area, got \[0.0, 0.0, 4.0, 0.0\] in image 0"),
        (lambda: Detections.of_images([[[0, 0, 1, math.inf]]], [[0.5]]), "finite"),
        (lambda: Detections.of_images([[[0, 0, 1, 1]]], [[math.nan]]), "scores must be finite, got nan in image 0"),
        (lambda: Detections.of_images([[[0, 0, 1, 1]]], [[0.5, 0.6]]), "image 0 has 1 boxes, but 2 scores"),
        (lambda: Detections.of_images([[[0, 0, 1]]], [[0.5]]), r"boxes must be \(P, 4\)"),
        (lambda: Detections.of_images([[[0, 0, 1, 1]]], [[1]], [[[0.5, 0.2]]]), "sum to 1 in each row, got .* sum 0.7"),
        (lambda: Detections.of_images([[[0, 0, 1, 1]]], [[1]], [[[math.nan, 1.0]]]), "probabilities must be finite"),
        (lambda: Detections.of_images([[[0, 0, 1, 1]]], [[1]], sizes=[[0, 5]]), r"sizes must be \(1, 2\), positive"),
        (lambda: Detections(np.zeros((2, 4)), [1, 1], [0, 1]), "offsets must rise from 0 to the number of boxes, 2"),
        (lambda: Detections(np.zeros((2, 4)), [1, 1], [0, 3, 2]), "offsets must rise"),
        (lambda: Truths.of_images([[[0, 0, 1, 1]]], [[-1]]), "labels must be at least 0, got -1"),
        (lambda: Truths.of_images([[[0, 0, 1, 1]], []], [[1]]), "boxes are of 2 images, labels of 1"),
    ],
)
def test_what_can_be_no_detection_is_an_error_that_names_it(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_types_are_errors():
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        Truths.of_images([[[0, 0, 1, 1]]], [[0.5]])
    with pytest.raises(TypeError, match="offsets must be integers"):
        Detections(np.zeros((1, 4)), [1], [0.0, 1.0])
