"""Takes losses as they are, where they rise as boxes are added."""

from orthobench.harness.detection import DetectionSolver
from orthobench.studies.risk_guarantees import Careless


class Solver(DetectionSolver):
    name = "no_supremum"

    def controller(self, problem):
        return Careless(problem.losses, problem.alphas, without="supremum")
