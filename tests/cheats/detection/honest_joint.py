"""The joint loss, as it is."""

from orthobench.conformal.detection import JointController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    name = "honest_joint"

    def controller(self, problem):
        alphas = problem.alphas
        joint = alphas["localisation"] + alphas["classification"]
        return JointController(problem.losses, {"confidence": alphas["confidence"], "joint": joint})
