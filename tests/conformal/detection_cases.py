"""Small random pools of images with ties everywhere, and losses of predicted sets from their definitions."""

import itertools

import numpy as np

from orthobench.conformal.detection import DetectionLosses, Detections, PredictedSets, Truths, image_losses
from orthobench.conformal.detection.boxes import outer_boxes
from orthobench.conformal.detection.sets import class_sets

CLASSES = 3


def random_boxes(random, count, least):
    """Return boxes on a small grid, of sizes from ``least`` on."""
    corners = random.integers(0, 8, (count, 2))
    return np.concatenate([corners, corners + random.integers(least, 6, (count, 2))], axis=1).astype(float)


def random_pool(random, images, feasible=False):
    """Return detections, with tied scores and boxes without a size among them, and truths; some images have none.

    If feasible, there are candidates for all true boxes.
    """
    true_counts, counts = random.integers(0, 4, images), random.integers(0, 6, images)
    counts = true_counts + counts // 2 if feasible else counts
    found = [random_boxes(random, count, 0) for count in counts]
    true = [random_boxes(random, count, 1) for count in true_counts]
    for boxes, own in zip(found, true, strict=True):  # some of the boxes are right
        right = min(len(boxes), len(own))
        boxes[:right] = own[:right]
    detections = Detections.of_images(
        found,
        [random.integers(1, 5, count) / 8 for count in counts],
        [random.multinomial(8, np.ones(CLASSES) / CLASSES, count) / 8 for count in counts],
        np.tile([16.0, 12.0], (images, 1)),
    )
    return detections, Truths.of_images(true, [random.integers(0, CLASSES, count) for count in true_counts])


def sets_at(losses, detections, score=-np.inf, margin=0.0, classes=0.0):
    """Return the sets of three parameters."""
    return PredictedSets(
        detections.scores >= score,
        outer_boxes(detections.boxes, margin, losses.margins),
        class_sets(detections.probabilities, classes, losses.classes) if losses.classes else None,
        detections.offsets,
    )


def supremum(losses, detections, truths, risk, score, **parameters):
    """Return the largest loss of each image over the scores that keep as many boxes or more, by definition."""
    scores = [each for each in {*detections.scores.tolist(), score} if each <= score]
    found = [
        image_losses(losses, detections, truths, sets_at(losses, detections, each, **parameters)) for each in scores
    ]
    return np.max([each[risk] for each in found], axis=0)


ALL_LOSSES = [
    DetectionLosses(localisation=localisation, match=match, margins=margins, classes=classes)
    for (localisation, match), (margins, classes) in zip(
        itertools.product(("box_wise", "pixel_wise", "thresholded"), ("mix", "hausdorff", "lac", "giou")),
        itertools.cycle(
            [("additive", "lac"), ("multiplicative", "aps"), ("multiplicative", "lac"), ("additive", "aps")]
        ),
        strict=False,
    )
]


def name_of(losses):
    return "-".join((losses.localisation, losses.match, losses.margins, losses.classes or "none"))
