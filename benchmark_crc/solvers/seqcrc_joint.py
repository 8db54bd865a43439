"""SeqCRC with one joint loss: no kept box is right of a true one."""

from orthobench.conformal.detection import JointController
from orthobench.harness.detection import SETS, DetectionSolver


class Solver(DetectionSolver):
    """Sequential conformal risk control of the joint loss, which needs no match, at the sum of both levels."""

    name = "SeqCRC joint"
    parameters = {**SETS, "scale": [1.0]}

    def controller(self, problem):
        alphas = {"confidence": problem.alphas["confidence"], "joint": problem.joint_alpha}
        return JointController(problem.losses, alphas, scale=self.scale)
