"""Images whose risks are known exactly for any thresholds: what a guarantee of detection can be judged on."""

from dataclasses import dataclass

import numpy as np

from .inputs import Detections, Truths

# The score of the duplicates, between the two thresholds of the first step in one of six calibrations on 99 images at
# a level of 0.05; what they need.
DUPLICATE_SCORE, DUPLICATE_NEED = 0.055, 0.99
SIDE = 10.0
_TRUE_BOX = (0.0, 0.0, SIDE, SIDE)


@dataclass(frozen=True)
class Simulation:
    """Images with one object: its score, how far its left side is off, and the probability of the wrong class are
    independent and uniform in [0, 1].

    Attributes
    ----------
    duplicates : bool
        Whether each image has a second candidate, all of one score, right in its place, and so the match, and of the
        wrong class.
    """

    duplicates: bool = False

    def check(self, losses):
        """Raise ValueError unless risks are known of these `DetectionLosses`."""
        if self.duplicates and losses.match != "hausdorff":
            raise ValueError(
                f"match={losses.match!r}: which duplicate is matched is known of match='hausdorff' alone; take that, "
                "or duplicates=False"
            )

    def draw(self, images, random):
        """Return detections and truths of images.

        Parameters
        ----------
        images : int
        random : numpy.random.Generator
        """
        scores, needs, wrong = random.random((3, images))
        boxes, probabilities = np.tile(_TRUE_BOX, (images, 2, 1)), np.empty((images, 2, 2))
        boxes[:, 0, 0] += needs
        probabilities[:, 0, 0], probabilities[:, 1, 0] = 1 - wrong, 1 - DUPLICATE_NEED
        probabilities[:, :, 1] = 1 - probabilities[:, :, 0]
        both = np.stack([scores, np.full(images, DUPLICATE_SCORE)], axis=1)
        candidates = slice(None) if self.duplicates else slice(1)
        each = 2 if self.duplicates else 1
        detections = Detections(
            boxes[:, candidates].reshape(-1, 4),
            both[:, candidates].ravel(),
            np.arange(images + 1) * each,
            probabilities[:, candidates].reshape(-1, 2),
            np.full((images, 2), SIDE),
        )
        return detections, Truths(np.tile(_TRUE_BOX, (images, 1)), np.arange(images + 1), np.zeros(images, dtype=int))

    def risks(self, thresholds, losses):
        """Return the exact risks of new images, by name.

        Parameters
        ----------
        thresholds : Thresholds
        losses : DetectionLosses
            Those that `check` allows.
        """
        self.check(losses)
        found = 1 - float(np.clip(thresholds.score, 0, 1))
        held, outside = _place(float(np.ravel(thresholds.margin)[0]), losses)  # the left side alone is off
        right = 1.0 if losses.classes is None else _right(thresholds.classes, losses.classes)
        risks = {
            "confidence": 1 - found,
            "localisation": 1 - found * (1 - outside),
            "classification": 1 - found * right,
            "maximum": 1 - found * (1 - outside) * right,
            "joint": 1 - found * held * right,
        }
        if self.duplicates and thresholds.score <= DUPLICATE_SCORE:  # they are matched, and held
            known = losses.classes is None or (thresholds.classes or 0) >= DUPLICATE_NEED
            risks |= {"confidence": 0.0, "localisation": 0.0, "classification": float(not known)}
            risks |= {"maximum": float(not known), "joint": 0.0 if known else risks["joint"]}
        return {name: risk for name, risk in risks.items() if name != "classification" or losses.classes}


def _place(margin, losses):
    """Return how often a box that is found is held, and its expected loss, by integrals over how far it is off."""
    width = SIDE if losses.margins == "multiplicative" else 1.0
    # A box off by x is narrower by that: multiplicative margins reach margin (SIDE - x).
    slope = margin if losses.margins == "multiplicative" else 0.0
    held = 1.0 if np.isinf(margin) else min(margin * width / (1 + slope), 1.0)
    if losses.localisation == "pixel_wise":
        return held, 0.0 if held == 1 else (1 + slope) * (1 - held) ** 2 / (2 * SIDE)
    return held, 1 - held


def _right(parameter, classes):
    """Return how often the class of a box that is found is in its set."""
    least = 0.5 if classes == "aps" else 0.0  # the most probable class is in every adaptive set
    return 0.5 if parameter is None else float(np.clip(parameter, least, 1))
