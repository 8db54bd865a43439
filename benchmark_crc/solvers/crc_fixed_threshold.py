"""Conformal risk control of margin and classes, of the boxes above a fixed score."""

from orthobench.conformal.detection import FixedThresholdController
from orthobench.harness.detection import SETS, DetectionSolver


class Solver(DetectionSolver):
    """Conformal risk control (Angelopoulos et al., 2024) of each parameter, of boxes with a score of at least 0.5."""

    name = "CRC fixed-threshold"
    parameters = {**SETS, "score": [0.5]}

    def controller(self, problem):
        alphas = {name: alpha for name, alpha in problem.alphas.items() if name != "confidence"}
        return FixedThresholdController(problem.losses, alphas, score=self.score)
