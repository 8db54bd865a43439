"""The losses of an image in detection, as functions of the parameters that conformal risk control chooses.

The first parameter is minus the score that a kept box needs: 1 less than the a of "keep what has a score of 1 - a", and
exact for every score. At the largest margin, infinity, an outer box is the whole plane, and at the largest class
parameter a set holds all classes: the same largest parameters for all images. Images without true boxes have no loss;
where there are true ones and no box is kept, all losses are 1.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..risk import MonotoneLosses, SequentialLosses, StepLosses
from ..risk.losses import exact_sum
from .boxes import MARGINS, covered_share, margin_needs, outer_boxes
from .inputs import check_pair
from .matching import MATCHES, images, match_costs, running_match
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
        return _one_event(needs[decides], image[decides], counts)

    def localisation_losses(self, detections, truths):
        """Return the losses of boxes that aren't held, `SequentialLosses` in the margin."""
        self.check(detections, truths)
        if self.localisation == "pixel_wise":
            return PixelWise(detections, truths, self)
        allowed = self.allowed if self.localisation == "thresholded" else None
        return NeededParameters(detections, truths, self._matched_margins, allowed)

    def classification_losses(self, detections, truths):
        """Return the losses of classes that aren't in their sets, `SequentialLosses` in the class parameter."""
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
        SequentialLosses
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


class NeededParameters(SequentialLosses):
    """The share of the true boxes of an image that need more than the second parameter, or 1 where it exceeds a share.

    Whether the j-th largest need of an image's true boxes exceeds the parameter says whether j of them are lost. So the
    supremum over all larger sets of kept boxes takes, of each j, the largest of these needs.

    Parameters
    ----------
    detections, truths : Detections, Truths
    needs : function of an `Image`
        What each true box needs when the first 1, 2, ... boxes are kept, (T, P).
    allowed : float, optional
        The share that is no loss; None for the share itself as the loss.
    """

    def __init__(self, detections, truths, needs, allowed=None):
        self.detections, self.truths, self._needs, self._allowed = detections, truths, needs, allowed

    @property
    def count(self):
        """The number of images."""
        return len(self.truths)

    def safest(self):
        """Return the losses in the first parameter at the largest second one: 1 where nothing is kept."""
        return _nothing_kept(self.detections, self.truths)

    def at(self, first):
        """Return the losses in the second parameter at a first one, as `StepLosses`."""
        found, owners, counts = [], [], self.truths.counts
        for image in images(self.detections, self.truths):
            ends = image.prefixes(first)
            if len(ends) == 0:
                continue  # where nothing is kept the loss is 1, whatever the second parameter
            falling = -np.sort(-self._needs(image)[:, ends], axis=0)
            largest = falling.max(axis=1)
            found.append(largest if self._allowed is None else largest[self._decisive(len(largest))])
            owners.append(np.full(len(found[-1]), image.index))
        needs = np.concatenate(found) if found else np.zeros(0)
        owners = np.concatenate(owners) if owners else np.zeros(0, dtype=np.int64)
        if self._allowed is None:
            return StepLosses.from_needs(needs, owners, start=counts, parts=np.maximum(counts, 1))
        return _one_event(needs, owners, counts)

    def _decisive(self, count):
        """Return the place, as a slice, of the need that decides whether more than the allowed share is lost."""
        most = math.floor(Fraction(str(self._allowed)) * count)
        return slice(most, most + 1)


class PixelWise(SequentialLosses):
    """1 - the mean share of the true boxes' areas that the outer boxes of their matches cover.

    Parameters
    ----------
    detections, truths : Detections, Truths
    losses : DetectionLosses
        Of the match and the margins.
    """

    def __init__(self, detections, truths, losses):
        self.detections, self.truths, self._losses = detections, truths, losses

    @property
    def count(self):
        """The number of images."""
        return len(self.truths)

    def safest(self):
        """Return the losses in the first parameter at the largest margin: 1 where nothing is kept."""
        return _nothing_kept(self.detections, self.truths)

    def at(self, first):
        """Return the losses in the margin at a first parameter, as `AreaLosses`."""
        pairs, matches, owners, lost = [], [], [], np.zeros(self.count)
        for image in images(self.detections, self.truths):
            ends = image.prefixes(first)
            if len(ends) == 0:
                lost[image.index] = 1.0
                continue
            ways = np.unique(self._losses.matched(image)[:, ends], axis=1).T
            true = np.tile(image.true_boxes, (len(ways), 1))
            pairs.append(np.stack([true, image.boxes[ways.ravel()]]))
            matches += [ways.shape[1]] * len(ways)
            owners += [image.index] * len(ways)
        true, predicted = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0, 4))
        return AreaLosses(
            true, predicted, np.array(matches, dtype=int), np.array(owners, dtype=int), lost, self._losses.margins
        )


class AreaLosses(MonotoneLosses):
    """The largest, among the ways to match the true boxes of an image, of the mean shares of their areas not covered.

    It falls without steps, so that `least` is the smallest float64 number at which the sum of the losses, each rounded
    to float64, is small enough.

    Parameters
    ----------
    true, predicted : array (M, 4)
        Pairs of boxes: those of a way to match follow those of another, the ways of an image those of another.
    pairs : array (W,)
        How many pairs each way has.
    owners : array (W,)
        The image of each way, ascending.
    lost : array (n,)
        Of images without one: their losses.
    margins : {"additive", "multiplicative"}
    """

    largest = 1.0

    def __init__(self, true, predicted, pairs, owners, lost, margins):
        self._true, self._predicted, self._pairs, self._lost, self._margins = true, predicted, pairs, lost, margins
        self._ways = np.concatenate([[0], pairs.cumsum()[:-1]]).astype(int)[: len(pairs)]
        self._images, self._starts = np.unique(owners, return_index=True)

    @property
    def count(self):
        """The number of images, n."""
        return len(self._lost)

    def values(self, parameter):
        """Return the losses (n,) at a margin."""
        losses = self._lost.copy()
        if len(self._images):
            outer = outer_boxes(self._predicted, max(parameter, 0.0), self._margins)
            ways = np.add.reduceat(1 - covered_share(self._true, outer), self._ways) / self._pairs
            losses[self._images] = np.maximum.reduceat(ways, self._starts)
        return losses

    def sum(self, parameter):
        """Return the sum of the losses at a margin, a `Fraction`, without further rounding."""
        return exact_sum(self.values(parameter))

    def least(self, total):
        """Return the smallest margin, 0 or more, at which the losses sum to at most a total; infinity if none does.

        Parameters
        ----------
        total : Fraction

        Returns
        -------
        float
        """
        if self.sum(0.0) <= total:
            return 0.0
        needs = margin_needs(self._true, self._predicted, self._margins)
        low, high = 0.0, float(needs[np.isfinite(needs)].max(initial=0.0))
        if self.sum(high) > total:
            return math.inf
        # Non-negative floats rise as the integers with the same bits do.
        low, high = (int(np.float64(each).view(np.int64)) for each in (low, high))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.sum(float(np.int64(middle).view(np.float64))) <= total else (middle, high)
        return float(np.int64(high).view(np.float64))


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


def _nothing_kept(detections, truths):
    """Return the losses that are 1 while no box is kept, in the first parameter."""
    image, rank, needs = _ranked(detections)
    first = (rank == 0) & (truths.counts[image] > 0)
    return _one_event(needs[first], image[first], truths.counts)


def _one_event(needs, owners, counts):
    """Return losses that are 1 where there are true boxes, until the need of their image is reached."""
    return StepLosses.from_needs(needs, owners, start=counts > 0, parts=np.ones_like(counts))
