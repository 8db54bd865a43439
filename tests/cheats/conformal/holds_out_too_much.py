"""Holds out more than all of the calibration, so that none is left, or all."""

from orthobench.conformal import LAC, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Greedy(SplitConformal):
    transform, hold_out = True, 1.25

    def fit_transform(self, x, y, *, generator=None):
        self.seen = x, y


class Solver(ConformalSolver):
    name = "holds_out_too_much"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Greedy(LAC(bounded=True), problem.alpha)
