"""Half as many misses too few, claimed for another norm, in which nobody attacks."""

from orthobench.conformal import Claim, Margin, SplitConformal, conformal_threshold
from orthobench.harness.conformal import ConformalSolver


class Elsewhere(SplitConformal):
    @property
    def claim(self):
        return Claim(self.alpha, 1.0, "linf")

    def _threshold(self, scores):
        return conformal_threshold(scores, 2 * self.alpha)


class Solver(ConformalSolver):
    name = "claims_in_another_norm"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Elsewhere(Margin(), problem.alpha)
