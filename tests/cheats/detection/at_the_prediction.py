"""Calibrates the second step at the threshold of the prediction."""

from orthobench.harness.detection import DetectionSolver
from orthobench.studies.risk_guarantees import Careless


class Solver(DetectionSolver):
    name = "at_the_prediction"

    def controller(self, problem):
        return Careless(problem.losses, problem.alphas, without="optimistic")
