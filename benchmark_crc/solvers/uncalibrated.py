"""The detector's boxes as they are, above a score of 0.5, each with its most probable class."""

from orthobench.conformal.detection import UncalibratedController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    """No calibration, and no claim."""

    name = "Uncalibrated"
    parameters = {"score": [0.5]}

    def controller(self, problem):
        return UncalibratedController(problem.losses, score=self.score)
