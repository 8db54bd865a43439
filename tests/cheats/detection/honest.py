"""Sequential conformal risk control, as it is."""

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    name = "honest"

    def controller(self, problem):
        return SequentialController(problem.losses, problem.alphas)
