"""What thresholds are worth: sets, losses and risks of the images that each split leaves for tests."""

import math

import numpy as np
from scipy.stats import binom

from ...conformal.detection import CalibrationLosses, PredictedSets, Thresholds, image_losses
from ...conformal.detection.boxes import area, iou, outer_boxes
from ...conformal.detection.matching import images
from ...conformal.detection.sets import class_needs
from ...conformal.verdicts import risk_verdict

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
    """All images of a task, prepared for many thresholds.

    Parameters
    ----------
    task : DetectionTask
    losses : DetectionLosses
    """

    def __init__(self, task, losses):
        self.task, self.losses = task, losses
        self.detections, self.truths = task.detections, task.truths
        self._prepared = CalibrationLosses(losses, self.detections, self.truths)
        self._areas = area(self.detections.boxes)
        self._true_areas = np.add.reduceat(np.append(area(self.truths.boxes), 0), self.truths.offsets[:-1])
        self._true_areas[self.truths.counts == 0] = 0
        self._needs = None if losses.classes is None else class_needs(self.detections.probabilities, losses.classes)
        self._precise = self._overlaps() >= 0.5

    def _overlaps(self):
        """Return the largest intersection over union of each candidate with a true box of its image."""
        best = np.zeros(len(self.detections.boxes))
        for image in images(self.detections, self.truths):
            best[image.rows] = iou(image.true_boxes[:, None], image.boxes).max(axis=0)
        return best

    def sets(self, thresholds):
        """Return the `PredictedSets` of all images."""
        classes = None
        if self._needs is not None and thresholds.classes is not None:
            classes = self._needs <= thresholds.classes
        elif self._needs is not None:
            classes = np.zeros(self._needs.shape, dtype=bool)
            classes[np.arange(len(classes)), self.detections.probabilities.argmax(1)] = True
        boxes = outer_boxes(self.detections.boxes, thresholds.margin, self.losses.margins)
        return PredictedSets(self.detections.scores >= thresholds.score, boxes, classes, self.detections.offsets)

    def image_losses(self, thresholds, sets):
        """Return the losses (N,) of all images, by the names of `RISKS`."""
        plain = not isinstance(thresholds.margin, tuple) and (self._needs is None or thresholds.classes is not None)
        if not plain:  # a margin of each side, or no parameter of classes: from the definitions, image by image
            return image_losses(self.losses, self.detections, self.truths, sets)
        first, found = -thresholds.score, {"confidence": self._prepared.confidence.values(-thresholds.score)}
        found["localisation"] = self._prepared.localisation.fixed(first).values(thresholds.margin)
        found["maximum"] = found["localisation"]
        if self._needs is not None:
            found["classification"] = self._prepared.classification.fixed(first).values(thresholds.classes)
            found["maximum"] = np.maximum(found["localisation"], found["classification"])
        return found

    def suprema(self, thresholds):
        """Return the mean losses of all images as they were calibrated, with suprema: localisation, classification."""
        first = -thresholds.score
        found = {"localisation": float(self._prepared.localisation.at(first).values(thresholds.margin).mean())}
        if self._needs is not None:
            found["classification"] = float(
                self._prepared.classification.at(first).values(thresholds.classes).mean()
            )
        return found

    def figures(self, thresholds, sets, chosen):
        """Return the sizes of the sets of some images, (N,) of bool."""
        rows = sets.kept & chosen[self.detections.image]
        kept = np.flatnonzero(rows)
        count, true_area = int(chosen.sum()), float(self._true_areas[chosen].sum())
        counts = np.bincount(self.detections.image[kept], minlength=len(self.detections))[chosen]
        found = {"boxes_per_image": len(kept) / count, "empty_images": float((counts == 0).mean())}
        sizes = np.ones(len(kept)) if sets.classes is None else sets.classes[kept].sum(1)
        outer = area(sets.cut(self.task.sizes)[kept])
        found["volume_ratio"] = float((outer * sizes).sum() / true_area) if true_area else UNKNOWN
        positive = self._areas[kept] > 0
        stretches = np.sqrt(outer[positive] / self._areas[kept][positive])
        found["stretch"] = float(stretches.mean()) if len(stretches) else UNKNOWN
        found["class_set_size"] = float(sizes.mean()) if len(kept) and sets.classes is not None else UNKNOWN
        found["precision_iou50"] = float(self._precise[kept].mean()) if len(kept) else UNKNOWN
        return found


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
    figures : dict of str to float
        Means over the splits.
    risks : dict of str to array (S,)
        By the names of `RISKS`.
    p_values : dict of str to float
        Of the risks that are claimed of images: NaN of others.
    """

    def __init__(self, task, claim, rows):
        pool = self.pool = Pool(task, claim.losses)
        self.risks, sizes, tests, losses = {}, {}, [], {}
        self.gaps = []
        for row, calibration in zip(rows, task.calibrations, strict=True):
            thresholds = thresholds_of(row)
            test = np.ones(len(task.truths), dtype=bool)
            test[calibration] = False
            sets = pool.sets(thresholds)
            for name, value in pool.figures(thresholds, sets, test).items():
                sizes.setdefault(name, []).append(value)
            tests.append(np.flatnonzero(test))
            found = pool.image_losses(thresholds, sets)
            for name, values in found.items():
                losses.setdefault(name, []).append(values[test])
        self.risks = {name: np.array([each.mean() for each in values]) for name, values in losses.items()}
        if task.simulation is not None:
            exact = [task.simulation.risks(thresholds_of(row)) for row in rows]
            self.risks = {name: np.array([each[name] for each in exact]) for name in exact[0]}
        self.p_values = {
            name: self._p_value(task, claim, name, tests, losses.get(name)) for name in RISKS if name in self.risks
        }
        self.figures = {name: _mean(values) for name, values in sizes.items()}

    def _p_value(self, task, claim, name, tests, losses):
        """Return the p-value of a claimed risk; NaN where it is not claimed of images, or can't be told."""
        if name not in claim.levels or claim.unit != "image" or claim.kind == "none":
            return UNKNOWN
        level = claim.levels[name]
        if claim.kind == "probability":
            if task.simulation is None:  # a risk of each calibration would have to be known
                return UNKNOWN
            above = int((self.risks[name] > level).sum())
            return float(binom.sf(above - 1, len(self.risks[name]), claim.delta))
        if task.simulation is not None:
            each = self.risks[name][:, None]
            return risk_verdict(np.arange(len(each))[:, None], each, level).p_value
        return risk_verdict(tests, losses, level).p_value


def thresholds_of(row):
    """Return the `Thresholds` of a row."""
    score, *margins, classes, _ = map(float, row)
    margin = margins[0] if len(set(margins)) == 1 else tuple(margins)
    return Thresholds(score, margin, None if math.isnan(classes) else classes)


def _mean(values):
    known = [each for each in values if not math.isnan(each)]
    return float(np.mean(known)) if known else UNKNOWN



