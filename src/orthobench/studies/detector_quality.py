"""How good the detector of `digit_boxes` is: what it misses at any score, and how often it names what it finds wrongly.

``orthobench study detector-quality`` trains it and prints that.
"""

import numpy as np

from ..conformal.detection import Detections, Truths
from ..conformal.detection.boxes import iou
from ..conformal.detection.matching import images
from ..conformal.detection.precision import average_precision
from ..data import digit_boxes
from ..models.detector import detect, trained_detector
from .goals import Figure

OVERLAP = 0.5  # from which on a box is found
# Fewer misses than levels of risk allow for, and classes that are neither all right nor hard.
MOST_MISSED, CLASS_ERRORS = 0.01, (0.03, 0.1)


def figures(train, pool, epochs):
    """Yield the `Figure` of objects that are missed, of wrong classes of the others, and of the average precision."""
    scenes, held_out = digit_boxes(0, train=train, pool=pool)
    model = trained_detector(scenes, 10, epochs=epochs)
    detections = Detections.of_images(*detect(model, held_out.images))
    truths = Truths(held_out.boxes, held_out.offsets, held_out.labels)
    missed, wrong = [], []
    for image in images(detections, truths):
        if not len(image.scores):
            missed += [True] * len(image.true_boxes)
            continue
        overlaps = iou(image.true_boxes[:, None], image.boxes)
        best, found = overlaps.argmax(axis=1), overlaps.max(axis=1) >= OVERLAP
        missed += (~found).tolist()
        wrong += (image.probabilities[best].argmax(axis=1) != image.labels)[found].tolist()
    yield Figure(f"of {len(missed)} objects, missed at any score", float(np.mean(missed)), at_most=MOST_MISSED)
    errors = float(np.mean(wrong)) if wrong else float("nan")
    yield Figure("of those found, of another class", errors, at_least=CLASS_ERRORS[0], at_most=CLASS_ERRORS[1])
    yield Figure("mean average precision", average_precision(detections, truths, OVERLAP))


def main(arguments):
    """Print the report."""
    for figure in figures(arguments.train, arguments.pool, arguments.epochs):
        print(figure.line(), flush=True)
