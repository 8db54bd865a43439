"""Sets of classes of detected boxes, which grow with one parameter."""

import numpy as np

CLASS_SETS = ("lac", "aps")
_ROWS_AT_ONCE = 2**16


def class_needs(probabilities, kind):
    """Return the smallest parameter with which each class is in the set.

    Parameters
    ----------
    probabilities : array (P, C)
        Float64, not changed.
    kind : {"lac", "aps"}
        "lac": 1 - p. "aps": the sum of the probabilities of the classes before it, in falling order (equal ones by
        their index): so the most probable class is in every set, and a set ends with the first class whose cumulated
        sum exceeds the parameter.

    Returns
    -------
    array (P, C)
        In [0, 1].

    Notes
    -----
    "lac": Sadinle, Lei and Wasserman, "Least ambiguous set-valued classifiers", JASA 2019. "aps": Romano, Sesia and
    Candes, "Classification with valid and adaptive coverage", NeurIPS 2020, not randomised.

    Examples
    --------
    >>> probabilities = np.array([[0.25, 0.5, 0.25]])
    >>> class_needs(probabilities, "lac").tolist(), class_needs(probabilities, "aps").tolist()
    ([[0.75, 0.5, 0.75]], [[0.5, 0.0, 0.75]])
    """
    if kind == "lac":
        return np.clip(1 - probabilities, 0.0, 1.0)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    falling = np.take_along_axis(probabilities, order, axis=1)
    before = np.zeros_like(falling)
    np.cumsum(falling[:, :-1], axis=1, out=before[:, 1:])
    needs = np.empty_like(before)
    np.put_along_axis(needs, order, np.minimum(before, 1.0), axis=1)
    return needs


def class_sets(probabilities, parameter, kind):
    """Return which classes are in the sets of boxes, (P, C) of bool.

    Parameters
    ----------
    probabilities : array (P, C)
    parameter : float or None
        At least 0; every class is in a set from 1 on. None for the most probable class alone.
    kind : {"lac", "aps"}
    """
    sets = np.zeros(probabilities.shape, dtype=bool)
    if parameter is None:
        np.put_along_axis(sets, probabilities.argmax(1)[:, None], True, axis=1)
        return sets
    for start in range(0, len(sets), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        sets[rows] = class_needs(probabilities[rows], kind) <= parameter
    return sets
