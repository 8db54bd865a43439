"""Claims of images what it has of detected boxes."""

from orthobench.conformal.detection import MaxAdditiveController
from orthobench.harness.detection import DetectionSolver


class Own(MaxAdditiveController):
    _unit = "image"


class Solver(DetectionSolver):
    name = "claims_images"

    def controller(self, problem):
        return Own(problem.losses, {"localisation": problem.alphas["localisation"]})
