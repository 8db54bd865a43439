"""Other ways to control what detection loses, to compare with: what each one guarantees is in its claim."""

import math

import numpy as np

from ..risk import StepLosses, conformal_risk_threshold, hoeffding_bentkus, learn_then_test
from ..risk.losses import as_level
from ..risk.ltt import PROCEDURES
from .claims import RiskClaim
from .controllers import RiskController, Thresholds, warn_of_few, with_maximum


class FixedThresholdController(RiskController):
    """Conformal risk control of margin and classes, of the boxes above a score that is fixed beforehand.

    A missed box is a loss that no margin mends, so that this is often infeasible: it then says so, by ``infeasible``.

    Parameters
    ----------
    losses : DetectionLosses
    alphas : dict of str to float
        Of "localisation" and, with classes, "classification".
    score : float
        Of the boxes that are kept, the least.

    Notes
    -----
    Angelopoulos, Bates, Fisch, Lei and Schuster, "Conformal risk control", ICLR 2024, for each parameter by itself.
    """

    risks = ("localisation", "classification")

    def __init__(self, losses, alphas, *, score=0.5):
        super().__init__(losses, alphas)
        self.score = float(score)

    def _choose(self, losses):
        found = {risk: self._threshold(risk, each.fixed(-self.score)) for risk, each in losses.second_step.items()}
        return Thresholds(self.score, found["localisation"], found.get("classification"))


class SplitController(RiskController):
    """Conformal risk control of each parameter on calibration images of its own: three disjoint parts of them.

    Sound without a correction, as the score that boxes need is fixed where margin and classes are calibrated; each
    parameter has a third of the images (half of them without classes).

    Parameters
    ----------
    losses : DetectionLosses
    alphas : dict of str to float
        Of "confidence", "localisation" and, with classes, "classification".
    seed : int
        Of the division into parts.
    """

    def __init__(self, losses, alphas, *, seed=0):
        super().__init__(losses, alphas)
        self.seed = int(seed)

    def _choose(self, losses):
        order = np.random.default_rng(self.seed).permutation(len(losses))
        first, *others = np.array_split(order, len(self.alphas))
        warn_of_few(len(first), "confidence", self.alphas["confidence"])
        parameter = conformal_risk_threshold(losses[first].confidence, 1, self.alphas["confidence"])
        found = {
            risk: self._threshold(risk, each[part].fixed(parameter))
            for (risk, each), part in zip(losses.second_step.items(), others, strict=True)
        }
        return Thresholds(-parameter, found["localisation"], found.get("classification"))


class _DetectedBoxes(RiskController):
    """A margin from the true boxes alone that a box above a fixed score overlaps; classes are the most probable ones.

    True boxes that no kept one overlaps count for nothing: what is claimed isn't the risk of an image.
    """

    risks = ("localisation",)

    def __init__(self, losses, alphas, *, score=0.5, overlap=0.5):
        if set(alphas) != {"localisation"}:
            raise ValueError(f"alphas must be of ['localisation'], got {sorted(alphas)}.")
        super().__init__(losses, alphas)
        self.score, self.overlap = float(score), float(as_level("overlap", overlap))

    @property
    def claim(self):
        """The `RiskClaim` of detected boxes."""
        return RiskClaim(self.alphas, self.losses, unit=self._unit)

    def _quantile(self, needs, alpha):
        """Return the conformal quantile of needs (D,), at least 0."""
        ones = np.ones(len(needs))
        return self._threshold("localisation", StepLosses.from_needs(needs, np.arange(len(needs)), ones, ones), alpha)


class BonferroniController(_DetectedBoxes):
    """A margin for each side of a box, each by a conformal quantile at a quarter of alpha, of the detected boxes.

    Parameters
    ----------
    losses : DetectionLosses
        Of the margins.
    alphas : dict of str to float
        Of "localisation": the probability that a detected box isn't held, boxes taken as exchangeable.
    score : float
        Of the boxes that are kept, the least.
    overlap : float
        In (0, 1): the intersection over union with a kept box from which on a true box is detected.

    Notes
    -----
    De Grancey, Adam, Alecu, Gerchinovitz, Mamalet and Vigouroux, "Object detection with probabilistic guarantees",
    SAFECOMP 2022, with distances cut at 0.
    """

    _unit = "detected box"

    def _choose(self, losses):
        needs = losses.sides(self.score, self.overlap).needs
        quarter = as_level("alpha", self.alphas["localisation"]) / 4
        return Thresholds(self.score, tuple(self._quantile(each, quarter) for each in needs.T), None)


class MaxAdditiveController(_DetectedBoxes):
    """One margin for all sides, by the conformal quantile of the largest distance of a box, or of those of an image.

    Parameters
    ----------
    losses, score, overlap
        As of `BonferroniController`.
    alphas : dict of str to float
        Of "localisation": the probability that a detected box isn't held; or, by image, that not all detected boxes of
        an image that has one are.
    by : {"box", "image"}

    Notes
    -----
    Andeol, Fel, de Grancey and Mossina, "Confident object detection via conformal prediction and conformal risk
    control: an application to railway signaling", COPA 2023 (PMLR 204), with distances cut at 0.
    """

    def __init__(self, losses, alphas, *, score=0.5, overlap=0.5, by="box"):
        super().__init__(losses, alphas, score=score, overlap=overlap)
        if by not in ("box", "image"):
            raise ValueError(f"by must be 'box' or 'image', got {by!r}.")
        self.by = by

    @property
    def _unit(self):
        return "detected box" if self.by == "box" else "image with a detected box"

    def _choose(self, losses):
        sides = losses.sides(self.score, self.overlap)
        largest, owners = sides.needs.max(axis=1), sides.image
        if self.by == "image":
            starts = np.unique(owners, return_index=True)[1]
            largest = np.maximum.reduceat(largest, starts) if len(starts) else largest
        return Thresholds(self.score, self._quantile(largest, self.alphas["localisation"]), None)


class LTTController(RiskController):
    """Learn then test: with a high probability over the calibration, all risks are at most their alphas.

    It tests points of a grid that is fixed beforehand, by p-values of Hoeffding and Bentkus, and takes, of those that
    pass, the one with the highest score, then the smallest margin, then the smallest class parameter. Losses are taken
    as they are: nothing need fall. If none passes, all thresholds are the largest ones (``infeasible``).

    Parameters
    ----------
    losses : DetectionLosses
    alphas : dict of str to float
        Of "confidence", "localisation" and, with classes, "classification".
    delta : float
        In (0, 1): the probability that a risk exceeds its alpha.
    scores, margins, classes : sequence of float
        The grid: falling scores, rising margins and class parameters. To be chosen without a look at the calibration
        images.
    procedure : {"fixed_sequence", "bonferroni"}
        "bonferroni" tests all combinations at delta over their number. "fixed_sequence" takes for each score the
        margins and class parameters in pairs, from the largest on, until one fails, at delta over the number of scores;
        they must be as many.

    Notes
    -----
    Angelopoulos, Bates, Candes, Jordan and Lei, "Learn then test: calibrating predictive algorithms to achieve risk
    control", Annals of Applied Statistics 2025.
    """

    def __init__(self, losses, alphas, *, delta=0.1, scores, margins, classes=(1.0,), procedure="fixed_sequence"):
        super().__init__(losses, alphas)
        if procedure not in PROCEDURES:
            raise ValueError(f"procedure must be one of {', '.join(map(repr, PROCEDURES))}, got {procedure!r}.")
        self.delta, self.procedure = float(as_level("delta", delta)), procedure
        self.scores, self.margins, self.classes = (tuple(map(float, each)) for each in (scores, margins, classes))
        for name, values, sign in (
            ("scores", self.scores, -1),
            ("margins", self.margins, 1),
            ("classes", self.classes, 1),
        ):
            if not values or (np.diff(values) * sign <= 0).any():
                raise ValueError(f"{name} must {'rise' if sign > 0 else 'fall'} strictly, got {values}.")
        if procedure == "fixed_sequence" and losses.classes and len(self.margins) != len(self.classes):
            raise ValueError(
                f"'fixed_sequence' pairs margins and classes, got {len(self.margins)} and {len(self.classes)} of them; "
                "give as many, or take 'bonferroni'."
            )

    @property
    def claim(self):
        """The `RiskClaim` of all alphas, with a probability of 1 - delta."""
        return RiskClaim(with_maximum(self.alphas), self.losses, "probability", self.delta)

    def _choose(self, losses):
        p_values = np.array([self._p_values(losses, score) for score in self.scores])
        if self.procedure == "fixed_sequence":
            paired = p_values if p_values.shape[2] == 1 else np.diagonal(p_values, axis1=1, axis2=2)[:, :, None]
            sequences = paired[:, ::-1, 0]
            passed = np.zeros(p_values.shape, dtype=bool)
            places = np.arange(p_values.shape[1])
            passed[:, places, places if p_values.shape[2] > 1 else 0] = learn_then_test(
                sequences, self.delta, "fixed_sequence"
            )[:, ::-1]
        else:
            passed = learn_then_test(p_values, self.delta)
        if not passed.any():
            return Thresholds(-math.inf, math.inf, math.inf if self.losses.classes else None)
        i, j, k = np.unravel_index(passed.argmax(), passed.shape)  # the first one, in the order of the axes
        return Thresholds(self.scores[i], self.margins[j], self.classes[k] if self.losses.classes else None)

    def _p_values(self, losses, score):
        """Return the largest p-value of the risks at each margin and class parameter, (B, G), with a score."""

        def of(risk, values, parameters):
            return hoeffding_bentkus([values(each).mean() for each in parameters], len(losses), self.alphas[risk])

        found = of("confidence", losses.confidence.values, [-score])[:, None]
        found = np.maximum(found, of("localisation", losses.localisation.fixed(-score).values, self.margins)[:, None])
        if self.losses.classes:
            fixed = losses.classification.fixed(-score)
            found = np.maximum(found, of("classification", fixed.values, self.classes))
        return found


class UncalibratedController(RiskController):
    """The boxes above a score, as they are, with their most probable classes: it guarantees nothing.

    Parameters
    ----------
    losses : DetectionLosses
    score : float
        Of the boxes that are kept, the least.
    """

    risks = ()

    def __init__(self, losses, *, score=0.5):
        super().__init__(losses, {})
        self.score = float(score)

    @property
    def claim(self):
        """A `RiskClaim` of nothing."""
        return RiskClaim({}, self.losses, "none")

    def _choose(self, losses):
        return Thresholds(self.score, 0.0, None)
