"""SeqCRC: sequential conformal risk control of confidence, then of places and classes."""

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import SETS, DetectionSolver


class Solver(DetectionSolver):
    """Sequential conformal risk control (Andeol and Massena, 2025), with losses monotonised image by image."""

    name = "SeqCRC"
    parameters = SETS

    def controller(self, problem):
        return SequentialController(problem.losses, problem.alphas)
