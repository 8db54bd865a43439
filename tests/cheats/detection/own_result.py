"""Answers with a result of its own."""

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    name = "own_result"

    def controller(self, problem):
        return SequentialController(problem.losses, problem.alphas)

    def get_result(self):
        return {"measured": None}
