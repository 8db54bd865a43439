"""The base of the objective: risks of detection over many splits, the sizes of what is predicted, and the verdict."""

import math
import types

import numpy as np

from ...conformal.detection import DetectionLosses, SequentialController
from ...conformal.detection.controllers import total_of_second
from ...conformal.risk.losses import as_level
from ...conformal.verdicts import is_refuted
from ..objective import Objective
from ..stand_in import StandIn
from ..status import REFUTED, InvalidResult
from ..unsaved import Unsaved
from .evaluation import RISKS, Measurement, thresholds_of
from .figures import picture
from .role import row_of

# The excess that so many splits refute with a probability of 99 %, at the level of a cell, in units of sd / sqrt(S).
POWER = 4.75 + 2.33
# How often a guarantee with a probability may fail.
LARGEST_DELTA = 0.1


class DetectionObjective(Objective):
    """Hands the task of a `DetectionDataset` to the bench, and judges what thresholds are worth.

    A subclass has the parameters ``alphas``, of confidence, localisation and classification as "0.02/0.05/0.05",
    ``confidence``, ``localisation`` and ``match``, those of `DetectionLosses`.
    """

    def set_data(self, task):
        self._task = task

    def get_objective(self):
        if isinstance(self._task, StandIn):
            return {"task": self._task, "alphas": {}, "losses": {}}
        with_classes = self._task.detections.classes > 0
        try:
            values = [float(as_level("alpha", float(each))) for each in str(self.alphas).split("/")]
            alphas = dict(zip(SequentialController.risks, values, strict=True))
        except ValueError:
            text = f"alphas={self.alphas!r}: expected three numbers in (0, 1), as in 0.02/0.05/0.05"
            return {"task": StandIn(ValueError(text)), "alphas": {}, "losses": {}}
        losses = {name: getattr(self, name) for name in ("confidence", "localisation", "match")}
        try:
            self._asked = DetectionLosses(**losses, classes="lac" if with_classes else None)
            self._asked.check(self._task.detections, self._task.truths)
            if self._task.simulation is not None:
                self._task.simulation.check(self._asked)
        except ValueError as error:
            return {"task": StandIn(error), "alphas": {}, "losses": {}}
        if not with_classes:
            del alphas["classification"]
        self._alphas = alphas
        return {"task": self._task, "alphas": alphas, "losses": vars(self._asked)}

    def evaluate(self, measured):
        """Return the metrics of a controller; see `orthobench.harness.Objective.evaluate`.

        Parameters
        ----------
        measured : namespace
            ``claim``, ``thresholds`` (S, 7) and ``calibration_time_s``.
        """
        claim, rows, task = measured.claim, measured.thresholds, self._task
        self._check_asked(claim)
        found = Measurement(task, claim, rows)
        figures, doubts = {"monotonised_gap": math.nan} | found.figures, []
        for risk, short in RISKS.items():
            values, p_value = found.risks.get(risk), found.p_values.get(risk, math.nan)
            mean = math.nan if values is None else float(values.mean())
            spread = float(values.std(ddof=1)) if values is not None and len(values) > 1 else math.nan
            level = claim.levels.get(risk, math.nan)
            figures |= {
                f"risk_{short}": mean,
                f"risk_sd_{short}": spread,
                f"p_value_{short}": p_value,
                f"judged_{short}": not math.isnan(p_value),
                f"power_{short}": POWER * spread / math.sqrt(task.splits),
                f"claimed_{short}": level,
            }
            if is_refuted(p_value):
                doubts.append(f"its risk of {risk} is {mean:.4f}, claims {level:g} (p = {p_value:.1e})")
            most, p_value = found.in_mean.get(risk, (math.nan, math.nan))
            if is_refuted(p_value):
                doubts.append(
                    f"its risk of {risk} is {mean:.4f}, claims {level:g} with a probability of {1 - claim.delta:g}, "
                    f"which is at most {most:.4f} in the mean (p = {p_value:.1e})"
                )
        infinite = (rows[:, 0] == -math.inf) | (rows[:, 1:5] == math.inf).any(1) | (rows[:, 5] == math.inf)
        if doubts and infinite.any():
            doubts.append(f"{100 * infinite.mean():.3g} % of its splits are infeasible")
        figures |= {
            "infeasible_share": float(infinite.mean()),
            "lambda_cnf_plus": _finite_mean(1 - rows[:, 0]),
            "lambda_cnf_minus": _finite_mean(1 - rows[:, 6]),
            "lambda_loc": _finite_mean(rows[:, 1:5].max(1)),
            "lambda_cls": _finite_mean(rows[:, 5]),
            "claimed_kind": claim.kind,
            "claimed_unit": claim.unit,
            "calibration_time_s": measured.calibration_time_s / task.calibration,
            "detector_map": task.average_precision,
            "picture": self._picture(found.pool, rows[0]),
            "guaranteed": not doubts and self._is_guarantee(claim),
        }
        verdict = {"status": REFUTED, "message": "; ".join(doubts)} if doubts else {}
        if not doubts and figures["guaranteed"] and found.untested:
            verdict = {"message": f"no test of its claims: {found.untested}"}
        return {"value": figures["volume_ratio"], **figures, **verdict}

    @staticmethod
    def _is_guarantee(claim):
        """Whether places and classes of images are guaranteed: a box that isn't kept is lost in both."""
        second = {"localisation"} | ({"classification"} if claim.losses.classes else set())
        covered = second <= set(claim.levels) or "joint" in claim.levels
        return claim.kind != "none" and claim.unit == "image" and covered

    def _check_asked(self, claim):
        """Raise InvalidResult unless a claim is of the losses and the levels that were asked for."""
        for name in ("confidence", "localisation", "match", "allowed", "weight"):
            asked, told = (getattr(each, name) for each in (self._asked, claim.losses))
            if asked != told:
                raise InvalidResult(f"the controller's losses have {name}={told!r}: expected {asked!r}")
        if (claim.losses.classes is None) != (self._asked.classes is None):
            raise InvalidResult(f"the controller's losses have classes={claim.losses.classes!r}")
        both = total_of_second(self._alphas)
        asked = self._alphas | {"maximum": both, "joint": both}
        for name, level in claim.levels.items():
            if level != asked.get(name):
                raise InvalidResult(f"the controller claims {level:g} of {name}: expected {asked.get(name)}")
        if claim.delta is not None and claim.delta > LARGEST_DELTA:
            raise InvalidResult(f"the controller claims delta={claim.delta:g}: expected at most {LARGEST_DELTA:g}")

    def _picture(self, pool, row):
        """Return a picture of the first images with a split's thresholds; one of each solver will do."""
        if self._task.images is None or self._run_context.repetition:
            return ""
        return picture(self._task.images, pool.truths, pool.detections, pool.sets(thresholds_of(row)))

    def get_one_result(self):
        handed = self.get_objective()
        controller = SequentialController(DetectionLosses(**handed["losses"]), handed["alphas"])
        rows = []
        for part in self._task.calibrations:
            controller.calibrate(self._task.detections[part], self._task.truths[part])
            rows.append(row_of(controller))
        result = {"claim": controller.claim, "thresholds": np.array(rows), "calibration_time_s": 1.0}
        return {"measured": Unsaved(types.SimpleNamespace(**result))}


def _finite_mean(values):
    finite = values[abs(values) < math.inf]  # neither infinite nor NaN
    return float(finite.mean()) if len(finite) else math.nan
