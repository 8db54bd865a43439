"""Smaller sets, because it claims less than it is asked for."""

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Solver(ConformalSolver):
    name = "asks_for_another_alpha"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return SplitConformal(Margin(), 2 * problem.alpha)
