"""SeqCRC with one joint loss: no kept box is right of a true one."""

from orthobench.conformal.detection import JointController
from orthobench.harness.detection import SETS, DetectionSolver


class Solver(DetectionSolver):
    """Sequential conformal risk control of the joint loss, which needs no match, at the sum of both levels."""

    name = "SeqCRC joint"
    parameters = {**SETS, "scale": [1.0]}

    def controller(self, problem):
        joint = sum(alpha for name, alpha in problem.alphas.items() if name != "confidence")
        return JointController(
            problem.losses, {"confidence": problem.alphas["confidence"], "joint": joint}, scale=self.scale
        )
