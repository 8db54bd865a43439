"""The losses of an image in detection, as functions of the parameters that conformal risk control chooses.

The first parameter is minus the score that a kept box needs: 1 less than the a of "keep what has a score of 1 - a", and
exact for every score. At the largest margin, infinity, an outer box is the whole plane, and at the largest class
parameter a set holds all classes: the same largest parameters for all images. Images without true boxes have no loss;
where there are true ones and no box is kept, all losses are 1.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..risk import StepLosses
from .boxes import MARGINS, margin_needs
from .inputs import check_pair
from .matching import MATCHES, match_costs, running_match
from .second_step import NeededParameters, PixelWise, one_event
from .sets import CLASS_SETS, class_needs

CONFIDENCE = ("count_threshold", "count_recall")
LOCALISATION = ("box_wise", "pixel_wise", "thresholded")


@dataclass(frozen=True)
class DetectionLosses:
    """What is lost in an image: the choice of losses, match, margins and class sets.

    Attributes
    ----------
    confidence : {"count_threshold", "count_recall"}
        1 where fewer boxes are kept than there are true ones; the share of the true ones that they are fewer by.
    localisation : {"box_wise", "pixel_wise", "thresholded"}
        The share of the true boxes that aren't within the outer box of their match; 1 - the mean share of their areas
        that is; 1 where the share of "box_wise" exceeds ``allowed``.
    match : {"mix", "hausdorff", "lac", "giou"}
        Which kept box stands for a true one: see `orthobench.conformal.detection.matching.match_costs`. Several true
        boxes may have the same.
    margins : {"additive", "multiplicative"}
        In the units of the boxes, or in widths and heights of the predicted box.
    classes : {"lac", "aps", None}
        How class sets grow; None without classes. The loss is the share of the true boxes whose class isn't in the set
        of their match.
    allowed : float
        In [0, 1), of "thresholded", as the decimal number that it is printed as. 0: any box that isn't held is a loss.
    weight : float
        In [0, 1], of the class in the match "mix".

    Raises
    ------
    ValueError
        If an attribute is none of these.

    Notes
    -----
    Andeol and Massena, COPA 2025. In "mix" we divide the distance by the image's diagonal; their code, by the largest
    distance of the boxes kept, which changes with the threshold.
    """

    confidence: str = "count_threshold"
    localisation: str = "box_wise"
    match: str = "mix"
    margins: str = "additive"
    classes: str | None = "lac"
    allowed: float = 0.25
    weight: float = 0.25

    def __post_init__(self):
        for name, choices in (
            ("confidence", CONFIDENCE),
            ("localisation", LOCALISATION),
            ("match", MATCHES),
            ("margins", MARGINS),
            ("classes", (*CLASS_SETS, None)),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {getattr(self, name)!r}.")
        if not 0 <= self.allowed < 1:
            raise ValueError(f"allowed must be in [0, 1), got {self.allowed!r}; 0.25 is the usual one.")
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must be in [0, 1], got {self.weight!r}; 0.25 is the usual one.")
        if self.classes is None and self.match in ("mix", "lac"):
            raise ValueError(f"the match {self.match!r} takes classes; choose 'hausdorff' or 'giou', or set classes.")

    def check(self, detections, truths):
        """Raise TypeError or ValueError unless detections and truths fit together and have what the losses take."""
        check_pair(detections, truths)
        self.check_detections(detections)
        if self.classes is not None and truths.labels is None:
            raise ValueError(f"classes={self.classes!r} takes labels of the true boxes; give them, or classes=None.")

    def check_detections(self, detections):
        """Raise ValueError unless detections have what the losses take."""
        if self.classes is not None and detections.probabilities is None:
            raise ValueError(
                f"classes={self.classes!r} takes probabilities of the classes, which the detections don't have; give "
                "them, or classes=None with the match 'hausdorff' or 'giou'."
            )
        if self.match == "mix" and detections.sizes is None:
            raise ValueError("the match 'mix' takes the sizes of the images; give them, or choose another match.")

    def confidence_losses(self, detections, truths):
        """Return the losses of too few boxes, `StepLosses` in the first parameter."""
        self.check(detections, truths)
        counts = truths.counts
        image, rank, needs = _ranked(detections)
        if self.confidence == "count_recall":
            counted = rank < counts[image]
            return StepLosses.from_needs(needs[counted], image[counted], start=counts, parts=np.maximum(counts, 1))
        decides = rank == counts[image] - 1
        return one_event(needs[decides], image[decides], counts)

    def localisation_losses(self, detections, truths):
        """Return the losses of boxes that aren't held, `StagedLosses` in the margin."""
        self.check(detections, truths)
        if self.localisation == "pixel_wise":
            return PixelWise(detections, truths, self.matched, self.margins)
        allowed = self.allowed if self.localisation == "thresholded" else None
        return NeededParameters(detections, truths, self._matched_margins, allowed)

    def classification_losses(self, detections, truths):
        """Return the losses of classes that aren't in their sets, `StagedLosses` in the class parameter."""
        self.check(detections, truths)
        if self.classes is None:
            raise ValueError("classes=None has no loss of classes; choose 'lac' or 'aps'.")
        return NeededParameters(detections, truths, self._matched_classes)

    def exists_losses(self, detections, truths, scale):
        """Return the joint loss: the share of the true boxes that no kept box holds with their class in its set.

        It takes no match, falls in every parameter, and is a function of one, t >= 0: the margin is scale x t, the
        class parameter t / (1 + t).

        Parameters
        ----------
        detections, truths : Detections, Truths
        scale : float
            > 0; the margin at t = 1.

        Returns
        -------
        StagedLosses
        """
        self.check(detections, truths)

        def needs(image):
            needed = self._margins(image) / scale
            if self.classes is not None:
                needed = np.maximum(needed, _odds(self._classes(image)))
            return np.minimum.accumulate(needed, axis=1)

        return NeededParameters(detections, truths, needs)

    def matched(self, image):
        """Return the match of each true box among the first 1, 2, ... boxes, (T, P): see `running_match`."""
        return running_match(match_costs(image, self.match, self.weight))

    def _margins(self, image):
        return margin_needs(image.true_boxes[:, None], image.boxes, self.margins)

    def _classes(self, image):
        return class_needs(image.probabilities, self.classes)[:, image.labels].T

    def _matched_margins(self, image):
        return np.take_along_axis(self._margins(image), self.matched(image), axis=1)

    def _matched_classes(self, image):
        return np.take_along_axis(self._classes(image), self.matched(image), axis=1)


def path_parameters(parameter, scale):
    """Return the margin and the class parameter on the path of `DetectionLosses.exists_losses`.

    Parameters
    ----------
    parameter : float
        t >= 0, or infinity.
    scale : float
        The margin at t = 1.

    Returns
    -------
    tuple of float
        Rounded so that what needs t is allowed.
    """
    if parameter == math.inf:
        return math.inf, math.inf
    return scale * parameter, parameter / (1 + parameter) + 4 * np.finfo(float).eps


def _odds(needs):
    with np.errstate(divide="ignore"):
        return needs / (1 - needs)


def _ranked(detections):
    """Return of all boxes, by image and falling score: image, rank in it from 0, and the first parameter it needs."""
    image = detections.image
    order = np.lexsort((-detections.scores, image))
    return image, np.arange(len(order)) - detections.offsets[image], -detections.scores[order]
