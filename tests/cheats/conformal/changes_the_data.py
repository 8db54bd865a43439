"""Overwrites what it was given, once it has looked at it."""

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Overwrites(SplitConformal):
    def prediction_scores(self, x, *, generator=None):
        scores = super().prediction_scores(x, generator=generator)
        x.fill_(0.5)
        return scores


class Solver(ConformalSolver):
    name = "changes_the_data"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Overwrites(Margin(), problem.alpha)
