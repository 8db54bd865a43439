"""Each parameter on images of its own."""

from orthobench.conformal.detection import SplitController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    name = "honest_split"

    def controller(self, problem):
        return SplitController(problem.losses, problem.alphas)
