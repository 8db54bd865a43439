"""Claims that enough boxes are kept, and nothing of where they are or what they show."""

from orthobench.conformal.detection import RiskClaim, SequentialController, Thresholds
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    @property
    def claim(self):
        return RiskClaim({"confidence": self.alphas["confidence"]}, self.losses)

    def _choose(self, losses):
        return Thresholds(super()._choose(losses).score, 0.0, 0.0)


class Solver(DetectionSolver):
    name = "claims_confidence_alone"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
