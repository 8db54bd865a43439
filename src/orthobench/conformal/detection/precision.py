"""Average precision of detections, which no guarantee is about: how good the detector is that one has to do with."""

import numpy as np
from scipy.special import expit

from .boxes import iou


def average_precision(detections, truths, overlap=0.5):
    """Return the mean over the classes of the area under precision against recall.

    Parameters
    ----------
    detections : Detections
        With probabilities: a box counts for each class with its score times the class's probability, unless that is 0.
        Scores of which some are outside [0, 1] are taken as logits.
    truths : Truths
        With labels.
    overlap : float
        The intersection over union from which on a box is right; a true box is found once.

    Returns
    -------
    float
        Over the classes that occur; precision is the largest at any larger recall (VOC 2010 and later).
    """
    scores = detections.scores
    if ((scores < 0) | (scores > 1)).any():
        scores = expit(scores)
    found = [_of_class(detections, scores, truths, label, overlap) for label in np.unique(truths.labels)]
    return float(np.mean(found)) if found else float("nan")


def _of_class(detections, scores, truths, label, overlap):
    scores = scores * detections.probabilities[:, label]
    image, true_image = detections.image, truths.image
    candidates = {}
    own = np.flatnonzero(truths.labels == label)
    for row in own:
        candidates.setdefault(int(true_image[row]), []).append(row)
    taken, right = set(), np.zeros(len(scores), dtype=bool)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0]
    for row in order[np.isin(image[order], true_image[own])]:  # elsewhere all are wrong
        free = [each for each in candidates[int(image[row])] if each not in taken]
        if not free:
            continue
        shares = iou(truths.boxes[free], detections.boxes[row])
        if shares.max() >= overlap:
            taken.add(free[int(shares.argmax())])
            right[row] = True
    hits = right[order].cumsum()
    precision = hits / np.arange(1, len(order) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best * right[order]).sum() / len(own))
