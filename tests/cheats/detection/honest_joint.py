"""The joint loss, as it is."""

from orthobench.conformal.detection import JointController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    name = "honest_joint"

    def controller(self, problem):
        alphas = {"confidence": problem.alphas["confidence"], "joint": problem.joint_alpha}
        return JointController(problem.losses, alphas)
