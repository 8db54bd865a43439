"""Images whose risks are known exactly for any thresholds: what a guarantee of detection can be judged on."""

from dataclasses import dataclass

import numpy as np

from .inputs import Detections, Truths

# The score of the duplicates, between the two thresholds of the first step in one of six calibrations on 99 images at
# a level of 0.05; what they need.
DUPLICATE_SCORE, DUPLICATE_NEED = 0.055, 0.99
SIDE = 10.0
# What risks are known of, of images with one object: whatever the confidence loss, it is 0 or 1.
LOSSES = {"localisation": "box_wise", "match": "hausdorff", "margins": "additive", "classes": "lac"}
_TRUE_BOX = (0.0, 0.0, SIDE, SIDE)


@dataclass(frozen=True)
class Simulation:
    """Images with one object, whose score, margin and class parameter are uniform in [0, 1] and independent.

    Of additive margins, LAC sets, the match "hausdorff" and losses of 0 and 1.

    Attributes
    ----------
    duplicates : bool
        Whether each image has a second candidate, all of one score, right in its place, and so the match, and of the
        wrong class.
    """

    duplicates: bool = False

    @staticmethod
    def check(losses):
        """Raise ValueError unless risks are known of these `DetectionLosses`."""
        for name, value in LOSSES.items():
            if getattr(losses, name) != value:
                raise ValueError(
                    f"{name}={getattr(losses, name)!r}: simulated risks are known of {name}={value!r} alone; take that"
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

    def risks(self, thresholds):
        """Return the exact risks of new images, by name.

        Parameters
        ----------
        thresholds : Thresholds
        """
        found = 1 - np.clip(thresholds.score, 0, 1)
        held, right = (float(np.clip(each, 0, 1)) for each in (thresholds.margin, thresholds.classes))
        risks = {
            "confidence": 1 - found,
            "localisation": 1 - found * held,
            "classification": 1 - found * right,
            "maximum": 1 - found * held * right,
            "joint": 1 - found * held * right,
        }
        if self.duplicates and thresholds.score <= DUPLICATE_SCORE:
            lost = float(right < DUPLICATE_NEED)
            risks |= {"confidence": 0.0, "localisation": 0.0, "classification": lost, "maximum": lost}
            risks["joint"] *= lost
        return {name: float(risk) for name, risk in risks.items()}
