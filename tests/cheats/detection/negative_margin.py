"""Makes boxes smaller."""

from dataclasses import replace

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    def _choose(self, losses):
        return replace(super()._choose(losses), margin=-0.5)


class Solver(DetectionSolver):
    name = "negative_margin"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
