"""aPRCP: sets that hold under random changes of the input, not under the worst."""

from orthobench.conformal.aprcp import APRCP
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Probabilistically robust conformal prediction (Ghosh et al., 2023)."""

    name = "aPRCP"
    parameters = {"network": ["standard"], "score": ["softmax"], "samples": [256]}
    needs_images = True

    def predictor(self, problem):
        return APRCP(make_score(self.score), problem.alpha, problem.radius, samples=self.samples)
