"""Calibrates at twice the levels that were asked for."""

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    name = "another_level"

    def controller(self, problem):
        return SequentialController(problem.losses, {name: 2 * alpha for name, alpha in problem.alphas.items()})
