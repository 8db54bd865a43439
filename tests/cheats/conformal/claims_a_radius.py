"""Vanilla sets, of which it says that no attack harms them."""

from orthobench.conformal import Claim, Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Robust(SplitConformal):
    @property
    def claim(self):
        return Claim(self.alpha, 1.0)


class Solver(ConformalSolver):
    name = "claims_a_radius"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Robust(Margin(), problem.alpha)
