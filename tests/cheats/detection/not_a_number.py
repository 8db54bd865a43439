"""Has no margin."""

from dataclasses import replace

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    def _choose(self, losses):
        return replace(super()._choose(losses), margin=float("nan"))


class Solver(DetectionSolver):
    name = "not_a_number"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
