"""Whether controllers of detection risks keep what they claim, and whether careless ones are seen not to.

``orthobench study risk-guarantees`` simulates them on images whose risks are known exactly for any
thresholds: honest controllers must not be refuted, careless ones must be. It takes some minutes.
"""

from dataclasses import dataclass, field

import numpy as np

from ..conformal.detection import (
    DetectionLosses,
    FixedThresholdController,
    JointController,
    LTTController,
    RiskController,
    SequentialController,
    SplitController,
    Thresholds,
)
from ..conformal.detection.simulation import Simulation
from ..conformal.risk import conformal_risk_threshold
from ..conformal.risk.losses import as_level
from ..conformal.verdicts import is_refuted, known_risk_p_value

LOSSES = DetectionLosses(match="hausdorff")
ALPHAS = {"confidence": 0.05, "localisation": 0.1, "classification": 0.1}
SECOND = {"localisation": 0.1, "classification": 0.1}


class Careless(SequentialController):
    """A sequential controller that leaves out something that its guarantee rests on.

    Parameters
    ----------
    without : {"optimistic", "correction", "misses", "supremum"}
        The second step is calibrated at the threshold of the prediction; without the loss of the new image; on images
        with detections alone; with losses as they are, where they rise as boxes are added.
    """

    def __init__(self, losses, alphas, *, without):
        super().__init__(losses, alphas)
        self.without = without

    def _choose(self, losses):
        chosen = super()._choose(losses)
        score = self.optimistic_score if self.without in ("correction", "supremum") else chosen.score
        if self.without == "misses":
            losses = losses[losses.images[0].above(score).counts > 0]
        found = {}
        for risk, each in losses.second_step.items():
            at, alpha = each.fixed(-score) if self.without == "supremum" else each.at(-score), self.alphas[risk]
            if self.without == "correction":
                found[risk] = max(0.0, at.least(as_level("alpha", alpha) * (len(losses) + 1)))
            else:
                found[risk] = max(0.0, conformal_risk_threshold(at, 1, alpha))
        return Thresholds(chosen.score, found["localisation"], found["classification"])


@dataclass(frozen=True)
class Case:
    """A controller in a simulation, and whether it must be refuted."""

    name: str
    controller: RiskController
    refuted: bool = False
    simulation: Simulation = field(default_factory=Simulation)


def cases():
    """Return every `Case`."""
    plain, duplicates = Simulation(), Simulation(duplicates=True)
    margins = np.linspace(0.9, 1, 21)
    ltt = LTTController(
        LOSSES,
        {"confidence": 0.1, "localisation": 0.2, "classification": 0.2},
        delta=0.1,
        scores=(0.05, 0.03, 0.02, 0.01),
        margins=margins,
        classes=margins,
    )
    honest = {
        "SeqCRC": SequentialController(LOSSES, ALPHAS),
        "SeqCRC joint": JointController(LOSSES, {"confidence": 0.05, "joint": 0.2}),
        "Split-3": SplitController(LOSSES, ALPHAS),
        "CRC fixed-threshold": FixedThresholdController(LOSSES, SECOND, score=0.02),
        "LTT-HB": ltt,
    }
    careless = {
        "second step at a+": Careless(LOSSES, ALPHAS, without="optimistic"),
        "no B / (n + 1)": Careless(LOSSES, ALPHAS, without="correction"),
        "detected images alone": Careless(LOSSES, ALPHAS, without="misses"),
    }
    return [
        *(Case(name, controller) for name, controller in honest.items()),
        *(Case(name, controller, refuted=True) for name, controller in careless.items()),
        Case("SeqCRC, duplicates", honest["SeqCRC"], simulation=duplicates),
        Case("SeqCRC joint, duplicates", honest["SeqCRC joint"], simulation=duplicates),
        Case("no supremum, duplicates", Careless(LOSSES, ALPHAS, without="supremum"), True, duplicates),
        Case("no supremum, no duplicates", Careless(LOSSES, ALPHAS, without="supremum"), False, plain),
    ]


def exact_risks(case, calibrations, images, seed=0):
    """Return the exact risks (calibrations,) of a case, by name: none of the calibrations is left out."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(calibrations):
        case.controller.calibrate(*case.simulation.draw(images, random))
        found.append(case.simulation.risks(case.controller.thresholds, case.controller.losses))
    return {name: np.array([each[name] for each in found]) for name in found[0]}


def lines(case, calibrations, images, seed=0):
    """Yield a line for each claimed risk of a case, and one that says whether the case ended as it must."""
    claim, refuted = case.controller.claim, False
    for risk, values in exact_risks(case, calibrations, images, seed).items():
        if risk not in claim.levels:
            continue
        p = known_risk_p_value(values, claim.levels[risk], claim.delta)
        refuted |= bool(is_refuted(p))
        error = values.std(ddof=1) / len(values) ** 0.5
        above = f", above in {(values > claim.levels[risk]).mean():.4f}" if claim.kind == "probability" else ""
        yield f"{case.name}, {risk}: {values.mean():.4f} ({error:.4f}) of {claim.levels[risk]:g}{above}; p = {p:.2g}"
    must = "must be" if case.refuted else "must not be"
    yield f"{case.name}: {'refuted' if refuted else 'not refuted'}, {must}: {_verdict(refuted == case.refuted)}"


def main(arguments):
    """Print the report."""
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        for case in cases():
            for line in lines(case, arguments.calibrations, arguments.images, seed):
                print(line, flush=True)


def _verdict(holds):
    return "holds" if holds else "DOES NOT HOLD"
