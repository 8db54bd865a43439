"""Losses in detection, as step functions with their suprema, against their definitions on predicted sets."""

import math

import numpy as np
import pytest
from detection_cases import ALL_LOSSES, CLASSES, name_of, random_pool, sets_at, supremum

from orthobench.conformal.detection import DetectionLosses, Detections, Truths, image_losses
from orthobench.conformal.detection.losses import path_parameters
from orthobench.conformal.risk import StepLosses

SCORES = [0.5, 0.375, 0.25, 0.125, -math.inf]


@pytest.mark.parametrize("losses", ALL_LOSSES, ids=name_of)
def test_second_losses_are_the_largest_ones_over_all_larger_sets_of_kept_boxes(losses):
    detections, truths = random_pool(np.random.default_rng(0), 25)
    localisation = losses.localisation_losses(detections, truths)
    classification = losses.classification_losses(detections, truths)
    for score in SCORES:
        at = localisation.at(-score), classification.at(-score)
        for margin in (0.0, 0.5, 1.0, 3.0, math.inf):
            expected = supremum(losses, detections, truths, "localisation", score, margin=margin)
            assert at[0].values(margin) == pytest.approx(expected, abs=1e-12)
        for classes in (0.0, 0.375, 0.625, 1.0, math.inf):
            expected = supremum(losses, detections, truths, "classification", score, classes=classes)
            assert at[1].values(classes) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("losses", ALL_LOSSES, ids=name_of)
def test_losses_of_some_images_are_theirs_and_as_they_are_at_a_fixed_score(losses):
    detections, truths = random_pool(np.random.default_rng(8), 25)
    chosen = [20, 3, 3, 11, 0]
    second = {
        "localisation": losses.localisation_losses(detections, truths),
        "classification": losses.classification_losses(detections, truths),
    }
    assert losses.confidence_losses(detections, truths)[chosen].values(-0.25).tolist() == (
        losses.confidence_losses(detections, truths).values(-0.25)[chosen].tolist()
    )
    for score in SCORES:
        expected = image_losses(losses, detections, truths, sets_at(losses, detections, score, margin=0.5, classes=0.5))
        for risk, each in second.items():
            assert each.fixed(-score).values(0.5) == pytest.approx(expected[risk], abs=1e-12)
            assert each[chosen].fixed(-score).values(0.5) == pytest.approx(expected[risk][chosen], abs=1e-12)
            assert each[chosen].at(-score).values(0.5).tolist() == each.at(-score).values(0.5)[chosen].tolist()
            assert each[chosen].safest().values(-score).tolist() == each.safest().values(-score)[chosen].tolist()
            assert each[:20][5:].count == 15


@pytest.mark.parametrize("confidence", ["count_threshold", "count_recall"])
def test_first_losses_are_those_of_the_definition_and_right_continuous_at_scores(confidence):
    losses = DetectionLosses(confidence=confidence)
    detections, truths = random_pool(np.random.default_rng(1), 60)
    steps = losses.confidence_losses(detections, truths)
    safest = [
        losses.localisation_losses(detections, truths).safest(),
        losses.classification_losses(detections, truths).safest(),
    ]
    for score in [math.inf, *SCORES]:
        for near in (score, np.nextafter(score, math.inf)):
            sets = sets_at(losses, detections, near, margin=math.inf, classes=math.inf)
            expected = image_losses(losses, detections, truths, sets)
            assert steps.values(-near).tolist() == expected["confidence"].tolist()
            assert safest[0].values(-near).tolist() == expected["localisation"].tolist()
            assert safest[1].values(-near).tolist() == expected["classification"].tolist()


@pytest.mark.parametrize(("margins", "classes"), [("additive", "lac"), ("multiplicative", "aps"), ("additive", None)])
def test_the_joint_loss_is_that_of_the_definition_on_its_path(margins, classes):
    losses = DetectionLosses(match="hausdorff", margins=margins, classes=classes)
    detections, truths = random_pool(np.random.default_rng(2), 40)
    joint = losses.exists_losses(detections, truths, scale=0.7)
    for score in SCORES:
        at = joint.at(-score)
        for parameter in np.unique(at.at[at.at >= 0]):
            margin, class_parameter = path_parameters(parameter, 0.7)
            sets = sets_at(losses, detections, score, margin=margin, classes=class_parameter)
            expected = image_losses(losses, detections, truths, sets)["joint"]
            assert at.values(parameter) == pytest.approx(expected, abs=1e-12)


def test_the_joint_loss_and_the_hausdorff_match_with_additive_margins_never_rise():
    """So that the supremum is the loss itself; the other matches need it."""
    random = np.random.default_rng(3)
    detections, truths = random_pool(random, 300)
    rises = {}
    for match in ("hausdorff", "lac"):
        losses = DetectionLosses(match=match)
        all_kept, most_kept = (
            image_losses(losses, detections, truths, sets_at(losses, detections, score, margin=0.0, classes=0.5))
            for score in (-math.inf, 0.375)
        )
        rises[match] = {risk: (all_kept[risk] > most_kept[risk]).any() for risk in all_kept}
    assert not any(each["joint"] or each["confidence"] for each in rises.values())
    assert not rises["hausdorff"]["localisation"]
    assert rises["hausdorff"]["classification"]
    assert rises["lac"]["localisation"]


def test_a_nearer_box_that_comes_in_can_hold_less():
    """By GIoU the second box is the match, and only the first one holds the true box: the supremum says so at once."""
    detections = Detections.of_images([[[0, 0, 20, 20], [1, 0, 4, 4]]], [[0.9, 0.5]])
    losses = DetectionLosses(match="giou", classes=None)
    second = losses.localisation_losses(detections, Truths.of_images([[[0, 0, 4, 4]]]))
    for score in (0.9, 0.5):
        assert second.at(-score).values(0.5).tolist() == [1]
        assert second.at(-score).values(1.0).tolist() == [0]


@pytest.mark.parametrize("losses", ALL_LOSSES, ids=name_of)
def test_losses_are_in_0_1_and_fall_in_both_parameters(losses):
    detections, truths = random_pool(np.random.default_rng(4), 25)
    second = losses.localisation_losses(detections, truths)
    table = np.array([[second.at(-score).values(margin) for margin in (0, 0.3, 1, 2, 9, math.inf)] for score in SCORES])
    assert (table >= 0).all()
    assert (table <= 1).all()
    assert (np.diff(table, axis=0) <= 1e-15).all()
    assert (np.diff(table, axis=1) <= 1e-15).all()


def test_more_than_the_allowed_share_of_boxes_is_a_loss_and_that_share_is_none():
    truths = Truths.of_images([[[0, 0, 1, 1]] * 10])
    lost = [[[0, 0, 1, 1]] * 7 + [[0, 0, 1, 2]] * 3]
    detections = Detections.of_images([[[0, 0, 1, 1]]], [[0.9]])
    for allowed, expected in ((0.3, 0.0), (0.29, 1.0), (0, 1.0)):
        losses = DetectionLosses(localisation="thresholded", match="hausdorff", classes=None, allowed=allowed)
        at = losses.localisation_losses(detections, Truths.of_images(lost)).at(math.inf)
        assert at.values(0.0).tolist() == [expected]
        assert at.values(1.0).tolist() == [0.0]
        assert losses.localisation_losses(detections, truths).at(math.inf).values(0.0).tolist() == [0.0]


def test_ties_of_the_match_go_to_the_larger_score_and_then_to_the_smaller_index():
    boxes, truths = [[[0, 0, 4, 4]] * 3], Truths.of_images([[[0, 0, 4, 4]]], [[0]])
    probabilities = [[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.125, 0.5, 0.375]]]
    losses = DetectionLosses(match="hausdorff")
    for scores, needed in (([0.5, 0.5, 0.5], 0.5), ([0.5, 0.75, 0.75], 0.75), ([0.5, 0.75, 0.875], 0.875)):
        detections = Detections.of_images(boxes, [scores], probabilities)
        assert losses.classification_losses(detections, truths).at(math.inf).at.tolist() == [-math.inf, needed]


def test_images_without_true_boxes_have_no_loss_and_without_kept_ones_all_of_it():
    detections = Detections.of_images([[[0, 0, 1, 1]], [], []], [[0.5], [], []], [[[1.0, 0.0]], [], []])
    truths = Truths.of_images([[], [[0, 0, 1, 1]], []], [[], [1], []])
    losses = DetectionLosses(match="lac")
    for each in (
        losses.localisation_losses(detections, truths).at(math.inf),
        losses.classification_losses(detections, truths).at(math.inf),
        losses.exists_losses(detections, truths, 1.0).at(math.inf),
        losses.confidence_losses(detections, truths),
    ):
        assert each.values(math.inf).tolist() == [0, 1, 0]
        assert each.values(-math.inf).tolist() == [0, 1, 0]


@pytest.mark.parametrize("match", ["mix", "giou"])
def test_the_margin_of_the_pixel_wise_loss_is_the_smallest_float_that_will_do(match):
    losses = DetectionLosses(localisation="pixel_wise", match=match)
    areas = losses.localisation_losses(*random_pool(np.random.default_rng(5), 30)).at(-0.25)
    for share in (0.9, 0.7, 0.5, 0.2):
        lowest, highest = areas.sum(math.inf), areas.sum(0.0)
        total = lowest + (highest - lowest) * type(lowest)(str(share))
        found = areas.least(total)
        assert areas.sum(found) <= total < areas.sum(np.nextafter(found, 0))
    assert areas.least(lowest) < math.inf
    assert areas.least(lowest - type(lowest)(1, 10**6)) == math.inf
    assert areas.least(highest) == 0


def test_one_class_is_in_every_set():
    random = np.random.default_rng(6)
    detections, truths = random_pool(random, 20)
    single = Detections(detections.boxes, detections.scores, detections.offsets, np.ones((len(detections.boxes), 1)))
    truths = Truths(truths.boxes, truths.offsets, np.zeros(len(truths.boxes), dtype=int))
    at = DetectionLosses(match="lac").classification_losses(single, truths).at(math.inf)
    assert isinstance(at, StepLosses)
    assert set(at.values(0.0)[single.counts > 0]) == {0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"match": "iou"}, "match must be one of 'mix', 'hausdorff', 'lac', 'giou', got 'iou'"),
        ({"allowed": 1.0}, r"allowed must be in \[0, 1\), got 1.0"),
        ({"weight": math.nan}, r"weight must be in \[0, 1\], got nan"),
        ({"classes": None}, "the match 'mix' takes classes; choose 'hausdorff'"),
    ],
)
def test_losses_that_there_are_not_are_errors(change, message):
    with pytest.raises(ValueError, match=message):
        DetectionLosses(**change)


def test_what_the_losses_take_and_the_images_lack_is_an_error():
    detections, truths = random_pool(np.random.default_rng(7), 5)
    bare = Detections(detections.boxes, detections.scores, detections.offsets)
    with pytest.raises(ValueError, match=r"takes probabilities of the classes.*give them, or classes=None"):
        DetectionLosses().confidence_losses(bare, truths)
    unsized = Detections(detections.boxes, detections.scores, detections.offsets, detections.probabilities)
    with pytest.raises(ValueError, match="'mix' takes the sizes of the images"):
        DetectionLosses().confidence_losses(unsized, truths)
    with pytest.raises(ValueError, match="takes labels"):
        DetectionLosses().confidence_losses(detections, Truths(truths.boxes, truths.offsets))
    with pytest.raises(ValueError, match=rf"labels must be in 0..{CLASSES - 1}, the detector's classes, got 7"):
        DetectionLosses().confidence_losses(
            detections, Truths(truths.boxes, truths.offsets, truths.labels + 7 - truths.labels.max())
        )
    with pytest.raises(ValueError, match="detections are of 5 images, truths of 4"):
        DetectionLosses().confidence_losses(detections, truths[:4])
    with pytest.raises(ValueError, match="has no loss of classes"):
        DetectionLosses(match="giou", classes=None).classification_losses(detections, truths)
