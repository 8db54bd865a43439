"""The bench's half of a cell of detection: it takes thresholds for each split, and measures what they are worth."""

import statistics
import types

import numpy as np

from ...conformal.detection import DetectionLosses, RiskClaim
from ..stand import clocks
from ..stand.cells import RunOnceCell
from ..stand.wire import expected_bytes
from ..status import InvalidResult, Refuted
from ..unsaved import Unsaved
from .role import WIDTH, packed

# Splits that stands calibrate again, each with those images alone.
AUDITS = 3


class DetectionCell(RunOnceCell):
    """Has thresholds chosen for each split in one stand, and some of them again in stands that know no other image.

    A stand has the truths of the images that it calibrates on, and those of one split are tested in another: what it
    answers must not depend on more than the images of a split. Sets, losses, risks and verdicts are the bench's.
    """

    role = "orthobench.harness.detection.role:DetectionRole"

    def hand_out(self, task, alphas, losses):
        self._measured_task = task
        return {"alphas": alphas, "losses": losses, "side": task.side}

    def known(self, task, alphas, losses):
        return {"classes": task.detections.classes}

    def compute_points(self):
        """Calibrate on every split, and audit some."""
        self._spent_s = 0.0
        task = self._measured_task
        stand, self.stand = self.stand, None
        claim = _claim(self.in_time(stand, "begin"))
        # How long all splits take is no figure: what is doubtful of it, on a busy machine, doesn't matter.
        rows, _, peak, _ = self._calibrate(stand, task.detections, task.truths, task.calibrations)
        audited = np.random.default_rng().choice(task.splits, min(AUDITS, task.splits), replace=False)
        readings = [self._audit(rows[split], task.calibrations[split]) for split in audited]
        result = {
            "claim": claim,
            "thresholds": rows,
            "calibration_time_s": statistics.median(readings),
        }
        return {1: {"measured": Unsaved(types.SimpleNamespace(**result)), "peak_memory_bytes": peak}}

    def _calibrate(self, stand, detections, truths, parts):
        """Return thresholds (S, 7), the seconds that the stand says, its peak of memory, and why not to believe them.

        The stand is ended.
        """
        tensors = packed(detections, truths, parts)
        try:
            answer = self.limited(
                stand, "calibrate", *tensors, calibrations=len(parts), largest=expected_bytes([(len(parts), WIDTH)]),
                measured=True,
            )  # fmt: skip
            rows = answer.tensors[0].numpy() if len(answer.tensors) == 1 else np.zeros(0)
            _check(rows, len(parts))
            seconds, peak = answer.number("seconds"), answer.peak_memory_bytes(stand)
            self.check_settings(stand)
            self.check_idle(stand)
            doubt = self.hidden(seconds, answer.cost, tensors, answer.tensors)
        finally:
            left = stand.end()
        self.check_ended(left)
        return rows, seconds, peak, doubt

    def _audit(self, row, part):
        """Return how long a stand takes that calibrates on one split's images, and finds the same thresholds."""
        task = self._measured_task
        for _ in range(clocks.ATTEMPTS):
            stand, _ = self.open(audit=True)
            self.in_time(stand, "begin")
            images = task.detections[part], task.truths[part]
            again, seconds, _, doubt = self._calibrate(stand, *images, np.arange(len(part))[None])
            if not np.array_equal(again[0], row, equal_nan=True):
                raise Refuted("its thresholds depend on more than the images of a split")
            if not doubt:
                return seconds
        raise Refuted(f"{doubt}, in {clocks.ATTEMPTS} fresh processes")


def _claim(answer):
    fields = answer.fields
    levels, losses = fields.get("levels"), fields.get("losses")
    if not isinstance(levels, dict) or not isinstance(losses, dict):
        raise InvalidResult(f"the stand claims {str(levels)[:80]} of {str(losses)[:80]}")
    try:
        return RiskClaim(levels, DetectionLosses(**losses), fields.get("kind"), fields.get("delta"), fields.get("unit"))
    except (TypeError, ValueError) as error:
        raise InvalidResult(f"the controller's claim is none: {error}") from error


def _check(rows, splits):
    if rows.shape != (splits, WIDTH) or rows.dtype != np.float64:
        raise InvalidResult(f"the thresholds are {rows.dtype} {rows.shape}: expected float64 {(splits, WIDTH)}")
    score, margins, classes = rows[:, 0], rows[:, 1:5], rows[:, 5]
    if np.isnan(score).any() or not (margins >= 0).all() or (classes < 0).any():
        raise InvalidResult("the thresholds hold NaN, or a margin or class parameter below 0")
