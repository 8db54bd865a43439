"""The picture of detections: which boxes are where, in which colour."""

import numpy as np
import torch

from orthobench.conformal.detection import Detections, PredictedSets, Truths
from orthobench.harness.detection.figures import FOUND, OUTER, SIDE, TRUE, picture
from orthobench.report import pictures

IMAGES = torch.zeros(2, 1, 8, 8)
SCALE = SIDE // 8
DETECTIONS = Detections.of_images([[[2, 2, 6, 6], [0, 0, 1, 1]], [[3, 3, 5, 5]]], [[0.9, 0.1], [0.8]])
TRUTHS = Truths.of_images([[[1, 2, 5, 6]], [[3, 3, 5, 5]]])


def drawn(outer, classes=None):
    kept = np.array([True, False, True])
    sets = PredictedSets(kept, np.array(outer, dtype=float), classes, DETECTIONS.offsets)
    return np.rint(255 * pictures.read(picture(IMAGES, TRUTHS, DETECTIONS, sets))).astype(int)


def colour(pixels, left, top):
    """The colour of the first pixel of a place in the units of the boxes, of the first scene."""
    return tuple(pixels[top * SCALE, left * SCALE])


def test_boxes_are_in_their_places_and_only_kept_ones_are_drawn():
    pixels = drawn([[1, 1, 7, 7], [0, 0, 2, 2], [2, 2, 6, 6]])
    assert pixels.shape == (SIDE, 2 * SIDE + 1, 3)
    assert colour(pixels, 1, 1) == OUTER
    assert colour(pixels, 2, 2) == FOUND
    assert colour(pixels, 1, 3) == TRUE  # over the outer box
    assert colour(pixels, 0, 0) == colour(pixels, 4, 4) == (0, 0, 0)
    # The last row of a box is the one before its bottom.
    assert tuple(pixels[7 * SCALE - 1, 4 * SCALE]) == OUTER
    assert tuple(pixels[7 * SCALE, 4 * SCALE]) == (0, 0, 0)


def test_outer_boxes_without_end_are_the_image():
    whole = [-np.inf, -np.inf, np.inf, np.inf]
    pixels = drawn([whole, whole, [2, 2, 6, 6]])
    for row, column in ((0, 0), (SIDE - 1, SIDE - 1), (0, SIDE - 1)):
        assert tuple(pixels[row, column]) == OUTER


def test_class_sets_are_told_in_orange():
    classes = np.eye(3, 5, dtype=bool)
    outer = [[1, 1, 7, 7], [0, 0, 2, 2], [2, 2, 6, 6]]
    plain, told = (np.all(drawn(outer, each) == OUTER, axis=-1).sum() for each in (None, classes))
    assert told > plain


def test_an_odd_number_of_scenes_and_colours_will_do():
    sets = PredictedSets(np.zeros(3, dtype=bool), np.zeros((3, 4)), None, DETECTIONS.offsets)
    read = pictures.read(picture(torch.ones(1, 3, 8, 8), TRUTHS[:1], DETECTIONS[:1], sets))
    assert read.shape == (SIDE, 2 * SIDE + 1, 3)
