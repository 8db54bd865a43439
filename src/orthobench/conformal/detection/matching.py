"""Which kept box stands for a true one, as boxes are added in the order of their scores."""

from typing import NamedTuple

import numpy as np

from .boxes import giou, hausdorff
from .inputs import ragged

MATCHES = ("mix", "hausdorff", "lac", "giou")


class Image(NamedTuple):
    """An image with at least one true box; its candidate boxes by falling score, equal ones by their index.

    Attributes
    ----------
    index : int
    true_boxes : array (T, 4)
    labels : array (T,) or None
    rows : array (P,)
        Of the detections.
    boxes : array (P, 4)
    scores : array (P,)
    probabilities : array (P, C) or None
    diagonal : float or None
    """

    index: int
    true_boxes: np.ndarray
    labels: np.ndarray | None
    rows: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray | None
    diagonal: float | None

    @property
    def ends(self):
        """The last box of each score, (A,): tied ones are kept together."""
        return np.flatnonzero(np.append(self.scores[1:] != self.scores[:-1], True)[: len(self.scores)])


def images(detections, truths):
    """Yield an `Image` for each image that has a true box."""
    for index in np.flatnonzero(truths.counts):
        true = slice(truths.offsets[index], truths.offsets[index + 1])
        start, end = detections.offsets[index : index + 2]
        rows = start + np.argsort(-detections.scores[start:end], kind="stable")
        yield Image(
            int(index),
            truths.boxes[true],
            None if truths.labels is None else truths.labels[true],
            rows,
            detections.boxes[rows],
            detections.scores[rows],
            None if detections.probabilities is None else detections.probabilities[rows],
            None if detections.sizes is None else float(np.hypot(*detections.sizes[index])),
        )


def pairs(detections, truths):
    """Return the rows of true boxes with all candidates of their images, (Q,) each, by falling score, then index."""
    counts = detections.counts[truths.image]
    order = np.lexsort([-detections.scores, detections.image])
    return (
        np.repeat(np.arange(len(truths.boxes)), counts),
        order[ragged(detections.offsets[truths.image], counts)],
    )


def match_costs(image, match, weight):
    """Return how badly each candidate box of an `Image` stands for each true one, (T, P): see `cost`."""
    wrong = None if image.probabilities is None else 1 - image.probabilities[:, image.labels].T
    return cost(image.true_boxes[:, None], image.boxes, wrong, image.diagonal, match, weight)


def cost(true, boxes, wrong, diagonal, match, weight):
    """Return how badly candidate boxes stand for true ones, (...).

    Parameters
    ----------
    true, boxes : array (..., 4)
    wrong : array (...), or None
        1 - the probability of the true class.
    diagonal : array (...) or float, or None
        Of the image.
    match : {"mix", "hausdorff", "lac", "giou"}
        "hausdorff": the signed distance of `hausdorff`; "lac": ``wrong``; "giou": 1 - GIoU; "mix": weight x "lac" +
        (1 - weight) x "hausdorff" / ``diagonal``.
    weight : float
        In [0, 1].
    """
    if match == "lac":
        return wrong
    if match == "giou":
        return 1 - giou(true, boxes)
    distances = hausdorff(true, boxes)
    return distances if match == "hausdorff" else weight * wrong + (1 - weight) * distances / diagonal


def running_match(costs):
    """Return the box of least cost among the first 1, 2, ... P ones: the first of equal ones.

    Parameters
    ----------
    costs : array (T, P)

    Returns
    -------
    array (T, P) of int

    Examples
    --------
    >>> running_match(np.array([[3.0, 1.0, 2.0, 1.0, 0.0]])).tolist()
    [[0, 1, 1, 1, 4]]
    """
    least = np.minimum.accumulate(costs, axis=1)
    better = np.ones(costs.shape, dtype=bool)
    better[:, 1:] = least[:, 1:] < least[:, :-1]
    return np.maximum.accumulate(np.where(better, np.arange(costs.shape[1]), 0), axis=1)
