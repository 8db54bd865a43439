"""Leaves out the loss of the new image."""

from orthobench.harness.detection import DetectionSolver
from orthobench.studies.risk_guarantees import Careless


class Solver(DetectionSolver):
    name = "no_correction"

    def controller(self, problem):
        return Careless(problem.losses, problem.alphas, without="correction")
