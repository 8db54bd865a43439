"""The losses of calibration images, prepared once for a pool of which many parts calibrate."""

import copy
from dataclasses import dataclass

import numpy as np

from .boxes import iou, side_needs
from .inputs import Ragged
from .matching import pairs


class CalibrationLosses:
    """All losses of images; ``losses[images]`` are those of some of them, at little cost.

    What is prepared is shared: with the parts, and with controllers of the same `DetectionLosses`.

    Parameters
    ----------
    losses : DetectionLosses
    detections, truths : Detections, Truths
        Of N images.

    Raises
    ------
    TypeError, ValueError
        If they don't fit together, or the detections lack what the losses take.

    Examples
    --------
    >>> from orthobench.conformal.detection import DetectionLosses, Detections, SequentialController, Truths
    >>> boxes = [[[0, 0, 4, 4 + each]] for each in range(40)]
    >>> pool = CalibrationLosses(
    ...     DetectionLosses(match="giou", classes=None),
    ...     Detections.of_images([[[0, 0, 4, 4]]] * 40, [[0.9]] * 40),
    ...     Truths.of_images(boxes),
    ... )
    >>> controller = SequentialController(pool.losses, {"confidence": 0.1, "localisation": 0.2})
    >>> [controller.calibrate_losses(pool[part]).thresholds.margin for part in (slice(0, 19), slice(20, 39))]
    [15.0, 35.0]
    """

    def __init__(self, losses, detections, truths):
        losses.check(detections, truths)
        self.losses, self._pool, self._images, self._made = losses, (detections, truths), np.arange(len(truths)), {}

    def __len__(self):
        """Return the number of images."""
        return len(self._images)

    def __getitem__(self, images):
        """Return the losses of some of the images: by a slice, indices, or a mask."""
        part = copy.copy(self)
        part._images = self._images[images]
        return part

    @property
    def images(self):
        """The detections and the truths of these images."""
        return tuple(each[self._images] for each in self._pool)

    @property
    def confidence(self):
        """The losses of too few boxes, `StepLosses`."""
        return self._part("confidence", self.losses.confidence_losses)

    @property
    def localisation(self):
        """The losses of boxes that aren't held, `StagedLosses` in the margin."""
        return self._part("localisation", self.losses.localisation_losses)

    @property
    def classification(self):
        """The losses of classes that aren't in their sets, `StagedLosses` in the class parameter."""
        return self._part("classification", self.losses.classification_losses)

    @property
    def second_step(self):
        """The losses of the margin and, with classes, of the class parameter, by the names of their risks."""
        found = {"localisation": self.localisation}
        return found | ({"classification": self.classification} if self.losses.classes else {})

    def joint(self, scale):
        """Return the joint losses, `StagedLosses`: see `DetectionLosses.exists_losses`."""
        return self._part(("joint", scale), lambda *pool: self.losses.exists_losses(*pool, scale))

    def sides(self, score, overlap):
        """Return the `SideNeeds` of the true boxes that a box of at least a score overlaps by an IoU of ``overlap``."""
        return self._part(("sides", score, overlap), lambda *pool: side_needs_of(*pool, self.losses, score, overlap))

    def _part(self, name, make):
        """Return the losses of these images, of those that are made once for all."""
        if name not in self._made:
            self._made[name] = make(*self._pool)
        return self._made[name][self._images]


@dataclass(frozen=True, eq=False)
class SideNeeds(Ragged):
    """The margins that the sides of detected boxes need.

    Attributes
    ----------
    needs : array (D, 4)
        Of left, top, right and bottom, at least 0.
    offsets : array (N + 1,)
        Rows offsets[i] to offsets[i + 1] - 1 are of image i.
    """

    needs: np.ndarray
    offsets: np.ndarray

    _rows = ("needs",)


def side_needs_of(detections, truths, losses, score, overlap):
    """Return the `SideNeeds` of true boxes, each with the box that overlaps it most: see `CalibrationLosses.sides`."""
    kept = detections.above(score)
    true, rows = pairs(kept, truths)
    overlaps = iou(truths.boxes[true], kept.boxes[rows])
    order = np.lexsort([-overlaps, true])  # the first of equal ones, as pairs are by falling score
    best = order[np.diff(true[order], prepend=-1) != 0]
    best = best[overlaps[best] >= overlap]
    needs = side_needs(truths.boxes[true[best]], kept.boxes[rows[best]], losses.margins)
    counts = np.bincount(truths.image[true[best]], minlength=len(truths))
    return SideNeeds(needs, np.concatenate([[0], counts.cumsum()]))
