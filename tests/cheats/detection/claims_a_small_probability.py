"""Claims what is hardly ever so."""

from dataclasses import replace

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    @property
    def claim(self):
        return replace(super().claim, kind="probability", delta=0.999)


class Solver(DetectionSolver):
    name = "claims_a_small_probability"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
