"""Matches by the class."""

from dataclasses import replace

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    name = "another_match"

    def controller(self, problem):
        return SequentialController(replace(problem.losses, match="lac"), problem.alphas)
