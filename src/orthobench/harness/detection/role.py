"""The stand's half of a cell of detection: it has the controller, and answers calibration images with thresholds."""

import numpy as np
import torch

from ...conformal.detection import CalibrationLosses, DetectionLosses, Detections, RiskController, Truths
from ..seeds import seed_everything
from ..stand.roles import Role, Timer
from ..status import InvalidResult
from .solver import RiskProblem

# Of an answer, for each split: the score, four margins, the class parameter, and the score of the second step.
WIDTH = 7


class DetectionRole(Role):
    """Answers ``begin`` and ``calibrate``; images that are tested come to it as those of other calibrations."""

    def receive(self, alphas, losses, side):
        """Take what a controller is made for."""
        self._wanted = RiskProblem(alphas, DetectionLosses(**losses), side)

    def prepare_solver(self):
        """Keep a clock."""
        self._timer = Timer(self.device)

    def begin(self):
        """Make a controller, and say what it claims, of which losses."""
        claim = self._controller().claim
        return {
            "levels": {name: float(level) for name, level in claim.levels.items()},
            "losses": vars(claim.losses),
            **{name: getattr(claim, name) for name in ("kind", "delta", "unit")},
        }

    def calibrate(self, *tensors, calibrations):
        """Return the thresholds of each of several calibrations, (S, 7) float64.

        Parameters
        ----------
        *tensors : Tensor
            Boxes, scores, offsets, probabilities and sizes of the detections; boxes, offsets and labels of the truths;
            and the images of each calibration, (S, n): see `packed`.
        calibrations : int
            S.
        """
        found, seconds, _ = self._timer.run(self._calibrate, tensors)
        return {"seconds": seconds}, [found]

    def _calibrate(self, tensors):
        detections, truths, parts = unpacked(tensors)
        pool, found = None, []
        for part in parts:
            controller = self._controller()
            if pool is None:
                pool = CalibrationLosses(controller.losses, detections, truths)
            controller.calibrate_losses(pool[part])
            found.append(row_of(controller))
        return torch.tensor(found, dtype=torch.float64).reshape(-1, WIDTH)

    def _controller(self):
        seed_everything(self.seed, self.device)
        controller = self.solver.controller(self.solver.problem(self._wanted))
        if not isinstance(controller, RiskController):
            raise InvalidResult(f"{self.solver.name} made a {type(controller).__name__}: expected a RiskController")
        return controller


def row_of(controller):
    """Return the thresholds of a calibrated controller as a row; NaN where it has none."""
    found = controller.thresholds
    classes = np.nan if found.classes is None else found.classes
    optimistic = getattr(controller, "optimistic_score", None)
    return [
        found.score,
        *np.broadcast_to(np.asarray(found.margin, dtype=float), 4),
        classes,
        np.nan if optimistic is None else optimistic,
    ]


def packed(detections, truths, parts):
    """Return the tensors that `unpacked` takes: a number stands for what there is none of."""
    arrays = (
        *(detections.boxes, detections.scores, detections.offsets, detections.probabilities, detections.sizes),
        *(truths.boxes, truths.offsets, truths.labels, parts),
    )
    return [torch.zeros(()) if each is None else torch.from_numpy(np.ascontiguousarray(each)) for each in arrays]


def unpacked(tensors):
    """Return detections, truths and the images (S, n) of each calibration."""
    boxes, scores, offsets, probabilities, sizes, true, true_offsets, labels, parts = (each.numpy() for each in tensors)
    optional = [each if each.ndim else None for each in (probabilities, sizes, labels)]
    return Detections(boxes, scores, offsets, *optional[:2]), Truths(true, true_offsets, optional[2]), parts
