"""Conformal risk control of each parameter on calibration images of its own."""

from orthobench.conformal.detection import SplitController
from orthobench.harness.detection import SETS, DetectionSolver


class Solver(DetectionSolver):
    """Three disjoint parts of the calibration images, one for each parameter: sound, with less data."""

    name = "Split-3"
    parameters = SETS

    def controller(self, problem):
        return SplitController(problem.losses, problem.alphas)
