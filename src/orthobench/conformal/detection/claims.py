"""What a controller of detection risks guarantees."""

from dataclasses import dataclass
from numbers import Real

from ..risk.losses import as_level
from .losses import DetectionLosses

KINDS = ("expectation", "probability", "none")
RISKS = ("confidence", "localisation", "classification", "maximum", "joint")
UNITS = ("image", "detected box", "image with a detected box")


@dataclass(frozen=True)
class RiskClaim:
    """What a controller guarantees of images that are exchangeable with those that it was calibrated on.

    ``print(claim)`` says it in a sentence.

    Attributes
    ----------
    levels : dict of str to float
        The largest risk, in (0, 1), of each loss that is claimed: "confidence", "localisation", "classification",
        "maximum" (of the last two), "joint".
    losses : DetectionLosses
        Which losses these are.
    kind : {"expectation", "probability", "none"}
        - "expectation": the expected loss is at most the level, over calibration and test;
        - "probability": with a probability of 1 - delta over the calibration, all these risks are at most their levels;
          images must then be independent;
        - "none": nothing is guaranteed.
    delta : float, optional
        In (0, 1), of "probability".
    unit : {"image", "detected box", "image with a detected box"}
        Whose loss. A box that no kept one overlaps has none of "detected box", and counts for nothing.

    Raises
    ------
    TypeError, ValueError
        If an attribute is none of these.
    """

    levels: dict
    losses: DetectionLosses
    kind: str = "expectation"
    delta: float | None = None
    unit: str = "image"

    def __post_init__(self):
        for name, allowed in (("kind", KINDS), ("unit", UNITS)):
            if getattr(self, name) not in allowed:
                choices = ", ".join(map(repr, allowed))
                raise ValueError(f"{name} must be one of {choices}, got {getattr(self, name)!r}.")
        for name, level in self.levels.items():
            if name not in RISKS:
                raise ValueError(f"levels must be of {', '.join(map(repr, RISKS))}, got {name!r}.")
            as_level(f"the level of {name}", level)
        if (self.kind == "probability") != isinstance(self.delta, Real):
            raise ValueError(f"delta must be a number for the kind 'probability' alone, got {self.delta!r}.")
        if self.delta is not None:
            as_level("delta", self.delta)

    def __str__(self):
        """Return the claim as a sentence."""
        if self.kind == "none":
            return "Nothing is guaranteed."
        risks = ", ".join(f"{self._named(name)} at most {level:g}" for name, level in self.levels.items())
        if self.kind == "probability":
            start = (
                f"With a probability of {1 - self.delta:g} over independent calibration images, expected losses are: "
            )
        else:
            start = "Expected losses, over exchangeable calibration and test images, are: "
        return f"{start}{risks}; of each {self.unit}."

    def _named(self, risk):
        """Return a risk with the loss that it is of."""
        losses = self.losses
        match = f"match {losses.match}, {losses.margins} margins"
        loss = {
            "confidence": losses.confidence,
            "localisation": f"{losses.localisation}, {match}" if self.unit == "image" else f"{losses.margins} margins",
            "classification": f"{losses.classes} sets, match {losses.match}",
            "maximum": "of localisation and classification",
            "joint": f"no kept box right, {losses.margins} margins"
            + (f", {losses.classes} sets" if losses.classes else ""),
        }[risk]
        return f"{risk} ({loss})"
