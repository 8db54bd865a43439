"""Average precision, by hand."""

import math

import numpy as np
import pytest

from orthobench.conformal.detection import Detections, Truths
from orthobench.conformal.detection.precision import average_precision

HERE, THERE = [0, 0, 4, 4], [10, 10, 14, 14]


def of(boxes, scores, labels, true, true_labels):
    probabilities = [np.eye(2)[each] for each in labels]
    return average_precision(Detections.of_images(boxes, scores, probabilities), Truths.of_images(true, true_labels))


def test_precision_of_a_perfect_detector_is_one_and_of_a_blind_one_zero():
    assert of([[HERE, THERE]], [[0.9, 0.8]], [[0, 1]], [[HERE, THERE]], [[0, 1]]) == 1
    assert of([[THERE, HERE]], [[0.9, 0.8]], [[0, 1]], [[HERE, THERE]], [[0, 1]]) == 0


def test_a_true_box_is_found_once_and_false_boxes_before_it_cost():
    # Right, a second one of the same (wrong), then right: precision 1, then 2/3.
    assert of([[HERE, HERE, THERE]], [[0.9, 0.8, 0.7]], [[0, 0, 0]], [[HERE, THERE]], [[0, 0]]) == pytest.approx(5 / 6)
    # Wrong, right: 1/2; a later wrong one costs nothing.
    assert of([[THERE, HERE, THERE]], [[0.9, 0.8, 0.1]], [[0, 0, 0]], [[HERE]], [[0]]) == pytest.approx(1 / 2)


def test_the_mean_is_over_the_classes_that_occur_and_half_of_what_is_there_may_be_found():
    assert of([[HERE], []], [[0.9], []], [[0], np.zeros(0, dtype=int)], [[HERE], [HERE]], [[0], [0]]) == 0.5
    assert of([[HERE]], [[0.9]], [[0]], [[HERE]], [[0]]) == 1
    assert math.isnan(of([[HERE]], [[0.9]], [[0]], [[]], [[]]))


def test_scores_may_be_logits():
    boxes, scores = [[THERE, HERE, THERE]], np.array([[0.3, 0.2, 0.1]])
    labels, truth = [[0, 0, 1]], ([[HERE]], [[0]])
    logits = np.log(scores / (1 - scores))
    assert of(boxes, logits, labels, *truth) == of(boxes, scores, labels, *truth) == pytest.approx(1 / 2)


def test_boxes_count_with_the_probability_of_a_class():
    detections = Detections.of_images([[THERE, HERE]], [[0.9, 0.8]], [[[0.3, 0.7], [0.9, 0.1]]])
    # Of class 0 the right box has 0.72, the wrong one 0.27.
    assert average_precision(detections, Truths.of_images([[HERE]], [[0]])) == 1
