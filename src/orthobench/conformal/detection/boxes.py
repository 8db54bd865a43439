"""Geometry of boxes: left, top, right, bottom; all functions broadcast over leading axes."""

import numpy as np

MARGINS = ("additive", "multiplicative")
_WIDER = 1 + 4 * np.finfo(float).eps


def side_distances(true, predicted):
    """Return how far each side of a true box is outside of that of a predicted one, (..., 4): negative inside."""
    return np.concatenate([predicted[..., :2] - true[..., :2], true[..., 2:] - predicted[..., 2:]], axis=-1)


def hausdorff(true, predicted):
    """Return the smallest additive margin with which predicted boxes hold true ones: negative where they hold more.

    Parameters
    ----------
    true, predicted : array (..., 4)

    Returns
    -------
    array (...)

    Notes
    -----
    The largest one of `side_distances`; the directed Hausdorff distance in the maximum norm where it is positive.

    Examples
    --------
    >>> hausdorff(np.array([0.0, 0, 4, 4]), np.array([[1.0, 1, 4, 7], [-2, -2, 8, 8]])).tolist()
    [1.0, -2.0]
    """
    return side_distances(true, predicted).max(axis=-1)


def side_needs(true, predicted, margins):
    """Return the margin, at least 0, that each side of a predicted box needs to hold that of a true one, (..., 4).

    Parameters
    ----------
    true, predicted : array (..., 4)
    margins : {"additive", "multiplicative"}
        In the units of the boxes, or in widths and heights of the predicted box: then infinity, if it has none.
    """
    distances = np.maximum(side_distances(true, predicted), 0.0)
    if margins == "additive":
        return distances
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distances > 0, distances / _scales(predicted, margins), 0.0)


def margin_needs(true, predicted, margins):
    """Return the smallest margin, at least 0, with which predicted boxes hold true ones, (...): see `side_needs`."""
    return side_needs(true, predicted, margins).max(axis=-1)


def outer_boxes(boxes, margin, margins):
    """Return boxes with a margin around them.

    Parameters
    ----------
    boxes : array (..., 4)
    margin : float or array (..., 1) or (4,)
        At least 0, of all sides or of each. With infinity a box is the whole plane, whatever its size.
    margins : {"additive", "multiplicative"}

    Returns
    -------
    array (..., 4)
        Rounded so that a box that `margin_needs` allows is held.

    Examples
    --------
    >>> outer_boxes(np.array([10.0, 10, 14, 12]), 0.5, "multiplicative").round(9).tolist()
    [8.0, 9.0, 16.0, 13.0]
    """
    margin = np.broadcast_to(np.asarray(margin, dtype=float), boxes.shape)
    finite = np.where(np.isinf(margin), 0.0, margin)
    # Wider by the rounding of a need, a division, and of this product: the difference below then rounds to no less.
    growth = np.where(np.isinf(margin), np.inf, finite * _scales(boxes, margins) * _WIDER)
    return np.concatenate([boxes[..., :2] - growth[..., :2], boxes[..., 2:] + growth[..., 2:]], axis=-1)


def holds(outer, true):
    """Return where outer boxes hold true ones whole, (...)."""
    return (side_distances(true, outer) <= 0).all(axis=-1)


def covered_share(true, outer):
    """Return the share of the areas of true boxes that outer ones cover, in [0, 1], (...)."""
    return _overlap(true, outer) / area(true)


def iou(true, predicted):
    """Return the intersection over the union of boxes, (...): 0 where they don't overlap."""
    overlap = _overlap(true, predicted)
    return overlap / (area(true) + area(predicted) - overlap)


def giou(true, predicted):
    """Return the generalised intersection over union of boxes, in (-1, 1]: 1 for equal ones, negative for distant ones.

    Parameters
    ----------
    true : array (..., 4)
        With positive areas.
    predicted : array (..., 4)

    Notes
    -----
    Rezatofighi et al., "Generalized intersection over union", CVPR 2019.

    Examples
    --------
    >>> giou(np.array([0.0, 0, 2, 2]), np.array([[0.0, 0, 2, 2], [4, 0, 6, 2]])).round(3).tolist()
    [1.0, -0.333]
    """
    overlap = _overlap(true, predicted)
    union = area(true) + area(predicted) - overlap
    low = np.minimum(true[..., :2], predicted[..., :2])
    hull = (np.maximum(true[..., 2:], predicted[..., 2:]) - low).prod(axis=-1)
    return overlap / union - (hull - union) / hull


def area(boxes):
    """Return the areas of boxes, (...)."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)


def _overlap(some, others):
    low, high = np.maximum(some[..., :2], others[..., :2]), np.minimum(some[..., 2:], others[..., 2:])
    return np.maximum(high - low, 0.0).prod(axis=-1)


def _scales(boxes, margins):
    """Return what a margin of 1 is for each side, (..., 4)."""
    sizes = boxes[..., 2:] - boxes[..., :2]
    return np.ones(boxes.shape) if margins == "additive" else np.concatenate([sizes, sizes], axis=-1)
