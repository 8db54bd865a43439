"""Controllers of detection risks: calibrated on images and their truths, they predict outer boxes and class sets."""

import inspect
import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..risk import SeqCRC, conformal_risk_threshold
from ..risk.losses import as_level
from .boxes import outer_boxes
from .calibration import CalibrationLosses
from .claims import RiskClaim
from .evaluation import PredictedSets
from .inputs import Detections
from .losses import DetectionLosses, path_parameters
from .sets import class_sets


@dataclass(frozen=True)
class Thresholds:
    """What a controller predicts with.

    Attributes
    ----------
    score : float
        Of the boxes that are kept, the least; minus infinity keeps all, infinity none.
    margin : float or tuple of 4 floats
        Of the outer boxes, at least 0: of all sides, or of left, top, right, bottom. Infinity for the whole plane.
    classes : float or None
        The parameter of the class sets, at least 0; None for the most probable class alone.
    """

    score: float
    margin: float | tuple
    classes: float | None


class RiskController(ABC):
    """A controller of detection risks.

    Parameters
    ----------
    losses : DetectionLosses
        What is lost.
    alphas : dict of str to float
        The largest risk, in (0, 1), of each of ``risks``; without "classification" if there are no classes.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Attributes
    ----------
    risks : tuple of str
        Whose alphas it takes.
    thresholds : Thresholds
        None before calibration.
    count : int
        The number of calibration images; None before calibration.
    infeasible : tuple of str
        Which of "score", "margin" and "classes" have the largest value, as no smaller one controls their risk. Such
        calibrations must not be left out of a study: the guarantee is an average over all of them.
    """

    risks = ("confidence", "localisation", "classification")

    def __init__(self, losses, alphas):
        if not isinstance(losses, DetectionLosses):
            raise TypeError(f"losses must be DetectionLosses, got {type(losses).__name__}.")
        expected = {name for name in self.risks if losses.classes or name != "classification"}
        if set(alphas) != expected:
            raise ValueError(f"alphas must be of {sorted(expected)}, got {sorted(alphas)}.")
        self.losses = losses
        self.alphas = {name: float(as_level(f"the alpha of {name}", alpha)) for name, alpha in alphas.items()}
        self.thresholds = self.count = None

    @property
    def claim(self):
        """The `RiskClaim` of this controller: by default, all its alphas in expectation."""
        return RiskClaim(with_maximum(self.alphas), self.losses)

    @property
    def infeasible(self):
        """Which of the thresholds are the largest ones."""
        self._check_calibrated()
        found = self.thresholds
        largest = {
            "score": found.score == -math.inf,
            "margin": np.isinf(found.margin).any(),
            "classes": found.classes == math.inf,
        }
        return tuple(name for name, is_largest in largest.items() if is_largest)

    def calibrate(self, detections, truths):
        """Choose the thresholds by images that neither training nor evaluation has seen.

        Parameters
        ----------
        detections : Detections
            All candidate boxes. What sorts some out beforehand must be the same for all images, and must not have been
            chosen by these.
        truths : Truths

        Returns
        -------
        RiskController
            Itself.

        Raises
        ------
        TypeError, ValueError
            If detections and truths don't fit, or these alphas can't be had with so many images.

        Warns
        -----
        UserWarning
            If there are too few images for one of the alphas; it says how many would do.
        """
        return self.calibrate_losses(CalibrationLosses(self.losses, detections, truths))

    def calibrate_losses(self, losses):
        """Choose the thresholds by losses that are at hand: many parts of a pool calibrate faster so.

        Parameters
        ----------
        losses : CalibrationLosses
            Of the controller's own `DetectionLosses`.

        Returns
        -------
        RiskController
            Itself.

        Raises
        ------
        ValueError
            As of `calibrate`; or if the losses are other ones.
        """
        if losses.losses != self.losses:
            raise ValueError(f"losses must be of {self.losses}, got those of {losses.losses}.")
        self.thresholds = self._choose(losses)
        self.count = len(losses)
        return self

    def predict(self, detections):
        """Return the sets of images, any number of them at once.

        Parameters
        ----------
        detections : Detections
            Candidate boxes, sorted out beforehand as those of the calibration.

        Returns
        -------
        PredictedSets

        Raises
        ------
        RuntimeError
            Before calibration.
        TypeError, ValueError
            If the detections don't have what the class sets take.
        """
        self._check_calibrated()
        if not isinstance(detections, Detections):
            raise TypeError(
                f"detections must be Detections, got {type(detections).__name__}; see Detections.of_images."
            )
        found, losses, classes = self.thresholds, self.losses, None
        if losses.classes is not None:
            if detections.probabilities is None:
                raise ValueError("class sets take probabilities of the classes, which the detections don't have.")
            classes = class_sets(detections.probabilities, found.classes, losses.classes)
        return PredictedSets(
            detections.scores >= found.score,
            outer_boxes(detections.boxes, found.margin, losses.margins),
            classes,
            detections.offsets,
        )

    @abstractmethod
    def _choose(self, losses):
        """Return the `Thresholds` for `CalibrationLosses`."""

    def _threshold(self, risk, losses, alpha=None):
        """Return the parameter that controls one risk, at least 0, by conformal risk control."""
        alpha = self.alphas[risk] if alpha is None else alpha
        warn_of_few(losses.count, risk, alpha)
        return max(0.0, conformal_risk_threshold(losses, 1, alpha))

    def _check_calibrated(self):
        if self.thresholds is None:
            raise RuntimeError(f"{type(self).__name__} isn't calibrated: call calibrate first.")

    def _options(self):
        """Return the arguments that the controller was made with."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self):
        options = ", ".join(f"{name}={value!r}" for name, value in self._options().items())
        state = "not calibrated" if self.thresholds is None else f"calibrated on {self.count} images"
        return f"{type(self).__name__}({options}), {state}"


class SequentialController(RiskController):
    """Sequential conformal risk control: of too few boxes first, then of their places and classes.

    Parameters
    ----------
    losses : DetectionLosses
    alphas : dict of str to float
        Of "confidence", "localisation" and, with classes, "classification". The last two are each at least that of
        "confidence" + 1 / (n + 1). The sum of the last two is what "maximum" is claimed to be at most.

    Attributes
    ----------
    optimistic_score : float
        The score that boxes need in the second step of the calibration: at least that of the prediction.

    Notes
    -----
    Andeol and Massena, "Sequential conformal risk control for safe railway signaling detection", COPA 2025 (PMLR
    266): see `orthobench.conformal.risk.SeqCRC`. Losses that rise as boxes are added take their suprema by image.
    """

    optimistic_score = None

    def _choose(self, losses):
        alphas = {name: alpha for name, alpha in self.alphas.items() if name != "confidence"}
        control = SeqCRC(self.alphas["confidence"], alphas)
        control.calibrate(losses.confidence, losses.second_step)
        self.optimistic_score = -control.optimistic
        second = {name: max(0.0, each) for name, each in control.thresholds.items()}
        return Thresholds(-control.threshold, second["localisation"], second.get("classification"))


class JointController(RiskController):
    """Sequential conformal risk control with one joint loss: a true box is lost unless a kept one is right of it.

    Right is a box whose outer box holds it and whose class set has its class. This takes no match, falls with every
    parameter, and spends all of its alpha. Margin and class parameter grow together, along a path.

    Parameters
    ----------
    losses : DetectionLosses
        Of the confidence, the margins and the class sets.
    alphas : dict of str to float
        Of "confidence" and "joint", this one at least the other + 1 / (n + 1).
    scale : float
        > 0: the margin where the class parameter is 1/2. To be chosen without a look at the calibration images.
    """

    risks = ("confidence", "joint")

    def __init__(self, losses, alphas, *, scale=1.0):
        super().__init__(losses, alphas)
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be positive and finite, got {scale!r}; 1 is the default.")
        self.scale = float(scale)

    @property
    def claim(self):
        """The `RiskClaim` of both alphas."""
        return RiskClaim(self.alphas, self.losses)

    def _choose(self, losses):
        control = SeqCRC(self.alphas["confidence"], {"joint": self.alphas["joint"]})
        control.calibrate(losses.confidence, {"joint": losses.joint(self.scale)})
        margin, classes = path_parameters(max(0.0, control.thresholds["joint"]), self.scale)
        return Thresholds(-control.threshold, margin, classes if self.losses.classes else None)


def with_maximum(alphas):
    """Return alphas with that of "maximum": the sum of those of "localisation" and "classification", if below 1."""
    both = total_of_second(alphas)
    claimed = {"localisation", "classification"} <= alphas.keys() and both < 1
    return {**alphas, "maximum": both} if claimed else alphas


def total_of_second(alphas):
    """Return the sum of the alphas of "localisation" and "classification", without rounding: 0.1 + 0.2 is 0.3."""
    return float(sum(Fraction(str(alphas[name])) for name in ("localisation", "classification") if name in alphas))


def warn_of_few(count, risk, alpha):
    """Warn if so many examples leave only the largest parameter for an alpha."""
    level = as_level("alpha", alpha)
    if level * (count + 1) < 1:
        warnings.warn(
            f"the parameter of {risk} is the largest one: {count} examples are too few for alpha={float(alpha):g}; "
            f"{math.ceil(1 / level) - 1} would do.",
            stacklevel=5,
        )
