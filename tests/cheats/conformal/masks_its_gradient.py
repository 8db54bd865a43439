"""Vanilla sets that are said to hold under attack; the attack is shown scores without a gradient."""

from orthobench.conformal import Claim, Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Masked(SplitConformal):
    @property
    def claim(self):
        return Claim(self.alpha, 1.0)

    def _prediction_scores(self, x, generator):
        return super()._prediction_scores(x.detach(), generator)

    def _true_class_scores(self, x, y, generator):
        return x.flatten(1).sum(1) * 0 + 1.0


class Solver(ConformalSolver):
    name = "masks_its_gradient"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Masked(Margin(), problem.alpha)
