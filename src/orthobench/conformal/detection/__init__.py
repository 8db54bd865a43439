"""Detection with guarantees: conformal control of how many boxes are missed, of their places, and of their classes.

Of the arrays or tensors of any detector:

>>> import numpy as np
>>> random = np.random.default_rng(0)
>>> corners = random.uniform(0, 50, (400, 1, 2))
>>> true = np.concatenate([corners, corners + 20], axis=2)
>>> detections = Detections.of_images(true + random.normal(size=(400, 1, 4)), random.uniform(0.5, 1, (400, 1)))
>>> truths = Truths.of_images(true)
>>> losses = DetectionLosses(match="hausdorff", classes=None)
>>> controller = SequentialController(losses, {"confidence": 0.02, "localisation": 0.1})
>>> controller.calibrate(detections[:200], truths[:200]).infeasible
()
>>> sets = controller.predict(detections[200:])
>>> bool(image_losses(losses, detections[200:], truths[200:], sets)["localisation"].mean() < 0.2)
True
"""

from .calibration import CalibrationLosses
from .claims import RiskClaim
from .controllers import JointController, RiskController, SequentialController, Thresholds
from .evaluation import PredictedSets, image_losses
from .inputs import Detections, Truths
from .losses import DetectionLosses
from .rivals import (
    BonferroniController,
    FixedThresholdController,
    LTTController,
    MaxAdditiveController,
    SplitController,
    UncalibratedController,
)
from .saving import load, save

__all__ = [
    "BonferroniController",
    "CalibrationLosses",
    "DetectionLosses",
    "Detections",
    "FixedThresholdController",
    "JointController",
    "LTTController",
    "MaxAdditiveController",
    "PredictedSets",
    "RiskClaim",
    "RiskController",
    "SequentialController",
    "SplitController",
    "Thresholds",
    "Truths",
    "UncalibratedController",
    "image_losses",
    "load",
    "save",
]
