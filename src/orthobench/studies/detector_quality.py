"""How good the detector of `digit_boxes` is: what it misses at any score, and how often it names what it finds wrongly.

``python -m orthobench.studies.detector_quality`` trains it and prints that.
"""

import argparse

import numpy as np

from ..conformal.detection import Detections, Truths
from ..conformal.detection.boxes import iou
from ..conformal.detection.matching import images
from ..conformal.detection.precision import average_precision
from ..data import digit_boxes
from ..models.detector import detect, trained_detector
from .goals import Figure

TRAIN, POOL, EPOCHS = 4_000, 2_000, 10
OVERLAP = 0.5  # from which on a box is found
# Fewer misses than levels of risk allow for, and classes that are neither all right nor hard.
MOST_MISSED, CLASS_ERRORS = 0.01, (0.03, 0.1)


def figures(train=TRAIN, pool=POOL, epochs=EPOCHS):
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


def main(argv=None):
    """Print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m orthobench.studies.detector_quality", description=__doc__.splitlines()[0]
    )
    for name, default in (("train", TRAIN), ("pool", POOL), ("epochs", EPOCHS)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"(default {default})")
    for figure in figures(**vars(parser.parse_args(argv))):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
