"""What a detector found in images, and what is there: arrays of all images, one after the other."""

import math
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from ..risk.losses import as_array

_SUM_TOLERANCE = 1e-3  # of a row of probabilities, as of `orthobench.conformal.log_probabilities`


class Ragged:
    """Arrays whose rows offsets[i] to offsets[i + 1] - 1 are those of image i; subclasses name them in ``_rows``."""

    def __len__(self):
        """Return the number of images."""
        return len(self.offsets) - 1

    def __getitem__(self, images):
        """Return some of the images: by a slice, indices, or a mask (N,)."""
        chosen = np.atleast_1d(np.arange(len(self))[images])
        counts = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], counts.cumsum()])
        rows = ragged(self.offsets[chosen], counts)
        return replace(self, offsets=offsets, **self._of_rows(rows), **self._of_images(chosen))

    @property
    def counts(self):
        """How many rows each image has, (N,)."""
        return np.diff(self.offsets)

    @property
    def image(self):
        """The image of each row, in 0..N - 1."""
        return np.repeat(np.arange(len(self)), self.counts)

    def _of_rows(self, rows):
        arrays = {name: getattr(self, name) for name in self._rows}
        return {name: each[rows] for name, each in arrays.items() if each is not None}

    def _of_images(self, images):
        return {}

    def _set(self, name, value):
        object.__setattr__(self, name, value)

    def _check_offsets(self):
        offsets = as_array(self.offsets)
        if offsets.ndim != 1 or len(offsets) == 0 or not np.issubdtype(offsets.dtype, np.integer):
            raise TypeError(
                f"offsets must be integers (N + 1,), got {offsets.dtype} {offsets.shape}; convert them by astype(int)."
            )
        if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(self.boxes):
            raise ValueError(
                f"offsets must rise from 0 to the number of boxes, {len(self.boxes)}, got {offsets.tolist()[:5]}... to "
                f"{int(offsets[-1])}; box offsets[i] is the first of image i."
            )
        self._set("offsets", offsets.astype(np.int64))

    def _check_boxes(self):
        boxes = as_array(self.boxes)
        if boxes.size == 0:
            boxes = boxes.reshape(-1, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes must be (P, 4), of left, top, right and bottom, got {boxes.shape}.")
        self._set("boxes", boxes.astype(float))

    def _check_shapes(self, area):
        """Raise ValueError unless all boxes are finite and their corners in order, with an area if it must be."""
        sizes = self.boxes[:, 2:] - self.boxes[:, :2]
        wrong = ~np.isfinite(self.boxes).all(1) | ((sizes <= 0) if area else (sizes < 0)).any(1)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            needed = "and a positive area" if area else "and no negative size"
            raise ValueError(
                f"boxes must be left, top, right, bottom, finite {needed}, got {self.boxes[row].tolist()} in image "
                f"{self.image[row]}; convert them, or leave that one out."
            )

    def _check_row_count(self, name, values):
        if len(values) != len(self.boxes):
            raise ValueError(f"{name} must have a row for each of the {len(self.boxes)} boxes, got {len(values)}.")


@dataclass(frozen=True, eq=False)
class Detections(Ragged):
    """The candidate boxes of N images, P in all, before any is sorted out by its score.

    `of_images` makes them of lists. All are arrays, tensors or lists; a detector may be any.

    Attributes
    ----------
    boxes : (P, 4)
        Left, top, right, bottom; in pixels, say.
    scores : (P,)
        Larger for what is an object more likely: probabilities or logits, finite.
    offsets : (N + 1,)
        Rows offsets[i] to offsets[i + 1] - 1 are of image i.
    probabilities : (P, C), optional
        Of the classes; each row sums to 1, up to 0.001.
    sizes : (N, 2), optional
        Width and height of the images, in the units of the boxes: the match "mix" takes them.

    Raises
    ------
    TypeError, ValueError
        If one is none of these; it names the first image that is wrong.

    Examples
    --------
    >>> detections = Detections.of_images([[[0, 0, 4, 2], [1, 1, 3, 3]], []], [[0.9, 0.2], []])
    >>> len(detections), detections.counts.tolist()
    (2, [2, 0])
    """

    boxes: np.ndarray
    scores: np.ndarray
    offsets: np.ndarray
    probabilities: np.ndarray | None = None
    sizes: np.ndarray | None = None

    _rows = ("boxes", "scores", "probabilities")

    def __post_init__(self):
        self._check_boxes()
        self._check_offsets()
        self._check_shapes(area=False)
        self._set("scores", as_array(self.scores).astype(float).reshape(-1))
        self._check_row_count("scores", self.scores)
        self._check_finite("scores", np.isfinite(self.scores), self.scores)
        if self.probabilities is not None:
            self._check_probabilities()
        if self.sizes is not None:
            self._check_sizes()

    @classmethod
    def of_images(cls, boxes, scores, probabilities=None, sizes=None):
        """Return the detections of lists with an entry for each image.

        Parameters
        ----------
        boxes, scores, probabilities : list of array (p_i, 4), (p_i,), (p_i, C)
        sizes : array (N, 2), optional

        Returns
        -------
        Detections
        """
        counts = _same_counts("scores", boxes, scores)
        if probabilities is not None:
            _same_counts("probabilities", boxes, probabilities)
            classes = max((as_array(each).shape[-1] for each in probabilities if len(each)), default=1)
            probabilities = _stacked(probabilities, classes)
        offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        return cls(_stacked(boxes, 4), _stacked(scores, 1).reshape(-1), offsets, probabilities, sizes)

    @property
    def classes(self):
        """The number of classes, C; 0 without probabilities."""
        return 0 if self.probabilities is None else self.probabilities.shape[1]

    def above(self, score):
        """Return the detections whose scores are at least a number; raise ValueError if that is none."""
        if not isinstance(score, Real) or math.isnan(score):
            raise ValueError(f"the least score must be a number, got {score!r}; minus infinity leaves out none.")
        keep = self.scores >= score
        offsets = np.concatenate([[0], keep.cumsum()])[self.offsets]
        return replace(self, offsets=offsets, **self._of_rows(keep))

    def _of_images(self, images):
        return {} if self.sizes is None else {"sizes": self.sizes[images]}

    def _check_finite(self, name, fine, values):
        if not fine.all():
            row = int(np.flatnonzero(~fine)[0])
            raise ValueError(
                f"{name} must be finite, got {values[row]} in image {self.image[row]}; repair the detector, or leave "
                "that box out of calibration and prediction alike."
            )

    def _check_probabilities(self):
        values = as_array(self.probabilities).astype(float)
        if values.ndim != 2 or values.shape[1] < 1:
            raise ValueError(f"probabilities must be (P, C), got {values.shape}; a single class has C = 1.")
        self._set("probabilities", values)
        self._check_row_count("probabilities", values)
        self._check_finite("probabilities", np.isfinite(values).all(1), values)
        wrong = (values < 0).any(1) | (abs(values.sum(1) - 1) > _SUM_TOLERANCE)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"probabilities must be at least 0 and sum to 1 in each row, got {values[row].tolist()[:5]} with the "
                f"sum {values[row].sum():g} in image {self.image[row]}; divide them by their sums, or give none."
            )

    def _check_sizes(self):
        values = as_array(self.sizes).astype(float)
        if values.shape != (len(self), 2) or not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(
                f"sizes must be ({len(self)}, 2), positive widths and heights of the images, got {values.shape}, the "
                f"smallest {values.min(initial=math.inf):g}; give those of every image."
            )
        self._set("sizes", values)


@dataclass(frozen=True, eq=False)
class Truths(Ragged):
    """The true boxes of N images, T in all.

    Attributes
    ----------
    boxes : (T, 4)
        Left, top, right, bottom, with a positive area, in the units of the detections.
    offsets : (N + 1,)
        Rows offsets[i] to offsets[i + 1] - 1 are of image i.
    labels : (T,), optional
        Classes, integers from 0.

    Raises
    ------
    TypeError, ValueError
        If one is none of these.
    """

    boxes: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray | None = None

    _rows = ("boxes", "labels")

    def __post_init__(self):
        self._check_boxes()
        self._check_offsets()
        self._check_shapes(area=True)
        if self.labels is None:
            return
        labels = as_array(self.labels).reshape(-1)
        if len(labels) and not np.issubdtype(labels.dtype, np.integer):
            raise TypeError(f"labels must be integers, got {labels.dtype}; convert them by astype(int).")
        self._set("labels", labels.astype(np.int64))
        self._check_row_count("labels", self.labels)
        if (self.labels < 0).any():
            raise ValueError(f"labels must be at least 0, got {self.labels.min()}; number the classes from 0.")

    @classmethod
    def of_images(cls, boxes, labels=None):
        """Return the truths of lists with an entry for each image.

        Parameters
        ----------
        boxes, labels : list of array (t_i, 4), (t_i,)

        Returns
        -------
        Truths
        """
        counts = [len(each) for each in boxes] if labels is None else _same_counts("labels", boxes, labels)
        if labels is not None:
            parts = [as_array(each) for each in labels if len(each)]
            labels = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        return cls(_stacked(boxes, 4), np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), labels)


def ragged(starts, counts):
    """Return the rows starts[i] to starts[i] + counts[i] - 1, of one i after the other.

    Parameters
    ----------
    starts, counts : array (n,) of int

    Examples
    --------
    >>> ragged(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = counts.cumsum()
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)


def check_pair(detections, truths):
    """Raise TypeError or ValueError unless detections and truths are of the same images and classes."""
    for name, value, kind in (("detections", detections, Detections), ("truths", truths, Truths)):
        if not isinstance(value, kind):
            raise TypeError(
                f"{name} must be {kind.__name__}, got {type(value).__name__}; see {kind.__name__}.of_images."
            )
    if len(detections) != len(truths):
        raise ValueError(f"detections are of {len(detections)} images, truths of {len(truths)}; give the same images.")
    if detections.classes and truths.labels is not None and len(truths.labels):
        highest = int(truths.labels.max())
        if highest >= detections.classes:
            raise ValueError(f"labels must be in 0..{detections.classes - 1}, the detector's classes, got {highest}.")


def _same_counts(name, boxes, values):
    """Return the numbers of boxes of images; raise ValueError unless other values are as many."""
    if len(boxes) != len(values):
        raise ValueError(f"boxes are of {len(boxes)} images, {name} of {len(values)}; give an entry for each image.")
    for image, (some, other) in enumerate(zip(boxes, values, strict=True)):
        if len(some) != len(other):
            raise ValueError(f"image {image} has {len(some)} boxes, but {len(other)} {name}.")
    return [len(each) for each in boxes]


def _stacked(arrays, width):
    """Return the rows (P, width) of all arrays."""
    parts = [as_array(each).reshape(len(each), -1) for each in arrays if len(each)]
    try:
        return np.concatenate(parts) if parts else np.zeros((0, width))
    except ValueError as error:
        raise ValueError(f"all images must have the same number of columns: {error}.") from None
