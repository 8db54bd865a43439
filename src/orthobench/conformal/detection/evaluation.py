"""Sets of predicted boxes, and their losses against the truth, each from its definition."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .boxes import covered_share, holds
from .inputs import check_pair
from .matching import images, match_costs


@dataclass(frozen=True, eq=False)
class PredictedSets:
    """What is predicted for N images with P candidate boxes.

    Attributes
    ----------
    kept : array (P,) of bool
    boxes : array (P, 4)
        Outer boxes, of all candidates. They may reach out of the image, to infinity: see `cut`.
    classes : array (P, C) of bool, or None
        Sets of classes, of all candidates.
    offsets : array (N + 1,)
        Rows offsets[i] to offsets[i + 1] - 1 are of image i.
    """

    kept: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray | None
    offsets: np.ndarray

    def __len__(self):
        """Return the number of images."""
        return len(self.offsets) - 1

    def image(self, index):
        """Return the outer boxes (k, 4) and the class sets (k, C), or None, of the k boxes kept in an image."""
        rows = self.offsets[index] + np.flatnonzero(self.kept[self.offsets[index] : self.offsets[index + 1]])
        return self.boxes[rows], None if self.classes is None else self.classes[rows]

    def cut(self, sizes):
        """Return the outer boxes (P, 4) cut to images of sizes (N, 2), width and height."""
        largest = np.repeat(np.tile(np.asarray(sizes, dtype=float), 2), np.diff(self.offsets), axis=0)
        return np.clip(self.boxes, 0.0, largest)


def image_losses(losses, detections, truths, sets):
    """Return the losses of predicted sets, image by image, as they are: no supremum is taken.

    Parameters
    ----------
    losses : DetectionLosses
    detections : Detections
        What the sets were predicted from: matches are chosen among its boxes, not the outer ones.
    truths : Truths
    sets : PredictedSets

    Returns
    -------
    dict of str to array (N,)
        "confidence", "localisation", "classification" (unless there are no classes), "maximum" (of the last two), and
        "joint": the share of the true boxes that no kept box holds with their class in its set.
    """
    losses.check(detections, truths)
    check_pair(detections, truths)
    names = ["confidence", "localisation", *(["classification"] if losses.classes else []), "joint"]
    found = {name: np.zeros(len(truths)) for name in names}
    for image in images(detections, truths):
        kept = sets.kept[image.rows]
        values = _of_image(losses, image, kept, sets) if kept.any() else dict.fromkeys(names, 1.0)
        for name, value in values.items():
            found[name][image.index] = value
    found["maximum"] = np.maximum(found["localisation"], found.get("classification", 0.0))
    return found


def _of_image(losses, image, kept, sets):
    """Return the losses of an image in which a box is kept, by name."""
    rows, true, count = image.rows[kept], image.true_boxes, len(image.true_boxes)
    match = rows[match_costs(image, losses.match, losses.weight)[:, kept].argmin(axis=1)]
    few = max(count - len(rows), 0)
    outside = 1 - holds(sets.boxes[match], true).mean()
    if losses.localisation == "pixel_wise":
        outside = (1 - covered_share(true, sets.boxes[match])).mean()
    elif losses.localisation == "thresholded":
        lost = (~holds(sets.boxes[match], true)).sum()
        outside = float(lost > math.floor(Fraction(str(losses.allowed)) * count))
    found = {
        "confidence": few / count if losses.confidence == "count_recall" else float(few > 0),
        "localisation": outside,
    }
    right = holds(sets.boxes[rows], true[:, None])
    if losses.classes:
        found["classification"] = 1 - sets.classes[match, image.labels].mean()
        right &= sets.classes[rows][:, image.labels].T
    return found | {"joint": 1 - right.any(axis=1).mean()}
