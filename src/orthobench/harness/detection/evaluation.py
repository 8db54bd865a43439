"""What thresholds are worth: sets, losses and risks of the images that each split leaves for tests."""

import math
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...conformal.detection import CalibrationLosses, PredictedSets, Thresholds
from ...conformal.detection.boxes import area, covered_share, holds, iou, outer_boxes
from ...conformal.detection.inputs import ragged
from ...conformal.detection.matching import cost, pairs
from ...conformal.detection.sets import class_needs
from ...conformal.verdicts import SPLITS, known_risk_p_value, risk_verdict

# In a claim's terms, and in those of the columns.
RISKS = {
    "confidence": "cnf",
    "localisation": "loc",
    "classification": "cls",
    "maximum": "max",
    "joint": "joint",
}
UNKNOWN = math.nan


class Pool:
    """All images of a task, prepared for many thresholds: its losses are those of `image_losses`, of all at once.

    Parameters
    ----------
    task : DetectionTask
    losses : DetectionLosses
    """

    def __init__(self, task, losses):
        self.losses, self.sizes = losses, task.sizes
        self.detections, self.truths = detections, truths = task.detections, task.truths
        self._image, self._areas = detections.image, area(detections.boxes)
        self._true_areas = np.bincount(truths.image, area(truths.boxes), len(truths))
        self._needs = None if losses.classes is None else class_needs(detections.probabilities, losses.classes)
        self._owners, self._rows = pairs(detections, truths)
        self._starts = np.flatnonzero(_changes(self._owners))
        self._costs = self._match_costs()
        overlaps = iou(truths.boxes[self._owners], detections.boxes[self._rows])
        self._precise = np.zeros(len(detections.boxes), dtype=bool)
        self._precise[self._rows[overlaps >= 0.5]] = True

    def _match_costs(self):
        true, boxes = self.truths.boxes[self._owners], self.detections.boxes[self._rows]
        wrong = diagonal = None
        if self.losses.match in ("lac", "mix"):
            wrong = 1 - self.detections.probabilities[self._rows, self.truths.labels[self._owners]]
        if self.losses.match == "mix":
            diagonal = np.hypot(*self.sizes[self._image[self._rows]].T)
        return cost(true, boxes, wrong, diagonal, self.losses.match, self.losses.weight)

    def sets(self, thresholds):
        """Return the `PredictedSets` of all images."""
        boxes = outer_boxes(self.detections.boxes, thresholds.margin, self.losses.margins)
        rows = np.arange(len(boxes))
        return PredictedSets(
            self.detections.scores >= thresholds.score, boxes, self._classes(rows, thresholds), self.detections.offsets
        )

    def _classes(self, rows, thresholds):
        """Return the class sets of some candidates, (k, C) of bool; None without classes."""
        if self._needs is None:
            return None
        if thresholds.classes is not None:
            return self._needs[rows] <= thresholds.classes
        return np.eye(self.detections.classes, dtype=bool)[self.detections.probabilities[rows].argmax(axis=1)]

    def _outer(self, rows, thresholds):
        return outer_boxes(self.detections.boxes[rows], thresholds.margin, self.losses.margins)

    def image_losses(self, thresholds):
        """Return the losses (N,) of all images, by the names of `RISKS`."""
        detections, truths, losses = self.detections, self.truths, self.losses
        keep = detections.scores >= thresholds.score
        kept, true = np.bincount(self._image[keep], minlength=len(truths)), truths.counts
        few = np.maximum(true - kept, 0)
        found = {"confidence": few / np.maximum(true, 1) if losses.confidence == "count_recall" else (few > 0) * 1.0}
        owners, rows = self._matched(keep)
        outer = self._outer(rows, thresholds)
        if losses.localisation == "pixel_wise":
            lost = 1 - covered_share(truths.boxes[owners], outer)
        else:
            lost = 1.0 - holds(outer, truths.boxes[owners])
        missed = (true > 0) & (kept == 0)
        outside = self._means(owners, lost)
        if losses.localisation == "thresholded":
            allowed = Fraction(str(losses.allowed))
            most = np.array([math.floor(allowed * count) for count in range(int(true.max(initial=0)) + 1)])
            outside = (outside * true > most[true] + 0.5) * 1.0
        found["localisation"] = found["maximum"] = np.where(missed, 1.0, outside)
        if self._needs is not None:
            wrong = ~self._classes(rows, thresholds)[np.arange(len(rows)), truths.labels[owners]]
            found["classification"] = np.where(missed, 1.0, self._means(owners, wrong))
            found["maximum"] = np.maximum(found["localisation"], found["classification"])
        return found | {"joint": self._joint(keep, thresholds)}

    def _matched(self, keep):
        """Return the true boxes of images in which one is kept, and the candidate that is matched to each."""
        if not len(self._rows):
            return self._owners, self._rows
        costs = np.where(keep[self._rows], self._costs, np.inf)
        least = np.zeros(len(self.truths.boxes))
        least[self._owners[self._starts]] = np.minimum.reduceat(costs, self._starts)
        places = np.flatnonzero(keep[self._rows] & (costs == least[self._owners]))
        places = places[_changes(self._owners[places])]
        return self._owners[places], self._rows[places]

    def _joint(self, keep, thresholds):
        """Return the share of each image's true boxes of which no kept box is right."""
        pairs = np.flatnonzero(keep[self._rows])
        rows, owners = self._rows[pairs], self._owners[pairs]
        right = holds(self._outer(rows, thresholds), self.truths.boxes[owners])
        if self._needs is not None:
            right &= self._classes(rows, thresholds)[np.arange(len(rows)), self.truths.labels[owners]]
        lost = np.ones(len(self.truths.boxes))
        lost[owners[right]] = 0.0
        return self._means(np.arange(len(lost)), lost)

    def _means(self, owners, values):
        """Return the means of values of true boxes over each image's: 0 for what has none."""
        sums = np.bincount(self.truths.image[owners], values, len(self.truths))
        return sums / np.maximum(self.truths.counts, 1)

    @cached_property
    def _calibrated(self):
        return CalibrationLosses(self.losses, self.detections, self.truths).second_step

    def suprema(self, thresholds):
        """Return how much larger losses are as they are calibrated, suprema over lower scores, in the mean; or NaN."""
        if isinstance(thresholds.margin, tuple) or (self._needs is not None and thresholds.classes is None):
            return UNKNOWN
        staged = {"localisation": thresholds.margin, "classification": thresholds.classes}
        first = -thresholds.score
        return max(
            float((each.at(first).values(staged[risk]) - each.fixed(first).values(staged[risk])).mean())
            for risk, each in self._calibrated.items()
        )

    def figures(self, thresholds, chosen):
        """Return the sizes of the sets of some images, (k,) of int."""
        counts = self.detections.counts[chosen]
        rows = ragged(self.detections.offsets[chosen], counts)
        keep = self.detections.scores[rows] >= thresholds.score
        kept = np.bincount(np.repeat(np.arange(len(chosen)), counts)[keep], minlength=len(chosen))
        rows = rows[keep]
        classes = self._classes(rows, thresholds)
        sizes = np.ones(len(rows)) if classes is None else classes.sum(axis=1)
        outer = area(np.clip(self._outer(rows, thresholds), 0.0, np.tile(self.sizes[self._image[rows]], 2)))
        true_area = float(self._true_areas[chosen].sum())
        positive = self._areas[rows] > 0
        stretches = np.sqrt(outer[positive] / self._areas[rows][positive])
        return {
            "boxes_per_image": len(rows) / len(chosen),
            "empty_images": float((kept == 0).mean()),
            "volume_ratio": float((outer * sizes).sum() / true_area) if true_area else UNKNOWN,
            "stretch": float(stretches.mean()) if len(stretches) else UNKNOWN,
            "class_set_size": float(sizes.mean()) if len(rows) and classes is not None else UNKNOWN,
            "precision_iou50": float(self._precise[rows].mean()) if len(rows) else UNKNOWN,
        }


class InMean(NamedTuple):
    """What a risk can be in the mean if its level holds with a probability, and the p-value of what was measured."""

    most: float
    p_value: float


class Measurement:
    """Risks and sizes over all splits.

    Parameters
    ----------
    task : DetectionTask
    claim : RiskClaim
    rows : array (S, 7)
        Thresholds, as `orthobench.harness.detection.role.row_of` has them.

    Attributes
    ----------
    pool : Pool
    figures : dict of str to float
        Means over the splits.
    risks : dict of str to array (S,)
        By the names of `RISKS`.
    p_values : dict of str to float
        Of the risks that are claimed of images: NaN of others.
    in_mean : dict of str to InMean
        Of risks that are claimed with a probability and aren't known exactly.
    untested : str
        Why a claim in expectation has no p-value; empty if it has one.
    """

    def __init__(self, task, claim, rows):
        self.pool = Pool(task, claim.losses)
        thresholds = [thresholds_of(row) for row in rows]
        sizes = [self.pool.figures(*each) for each in zip(thresholds, task.tests, strict=True)]
        self.figures = {name: _mean([each[name] for each in sizes]) for name in sizes[0]}
        losses = {}
        if task.simulation is not None:
            exact = [task.simulation.risks(each, claim.losses) for each in thresholds]
            self.risks = {name: np.array([each[name] for each in exact]) for name in exact[0]}
        else:
            self.figures["monotonised_gap"] = _mean([self.pool.suprema(each) for each in thresholds])
            found = [
                {name: each[test] for name, each in self.pool.image_losses(at).items()}
                for at, test in zip(thresholds, task.tests, strict=True)
            ]
            losses = {name: [each[name] for each in found] for name in found[0]}
            self.risks = {name: np.array([each.mean() for each in values]) for name, values in losses.items()}
        self.p_values, self.in_mean, self.untested = dict.fromkeys(self.risks, UNKNOWN), {}, ""
        for name in claim.levels if claim.unit == "image" and claim.kind != "none" else ():
            self._test(task, claim, name, losses.get(name))

    def _test(self, task, claim, name, losses):
        """Test the claim of a risk of images."""
        level = claim.levels[name]
        if task.simulation is not None:
            self.p_values[name] = known_risk_p_value(self.risks[name], level, claim.delta)
            if math.isnan(self.p_values[name]):
                self.untested = f"needs {SPLITS} splits, these are {task.splits}"
        elif claim.kind == "probability":
            # The risk of each calibration would have to be known. That of all is at most the level, or else 1; the pool
            # is a sample of independent images.
            most = level + claim.delta * (1 - level)
            verdict = risk_verdict(task.tests, losses, most, part=len(self.pool.truths), pool=math.inf)
            self.in_mean[name] = InMean(most, verdict.p_value)
        else:
            self.p_values[name], self.untested = risk_verdict(task.tests, losses, level)


def _changes(values):
    """Return where sorted integers, at least 0, are other ones than before, (n,) of bool."""
    return np.diff(values, prepend=-1) != 0


def thresholds_of(row):
    """Return the `Thresholds` of a row."""
    score, *margins, classes, _ = map(float, row)
    margin = margins[0] if len(set(margins)) == 1 else tuple(margins)
    return Thresholds(score, margin, None if math.isnan(classes) else classes)


def _mean(values):
    known = [each for each in values if not math.isnan(each)]
    return float(np.mean(known)) if known else UNKNOWN
