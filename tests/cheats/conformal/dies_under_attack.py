"""Leaves its process where a gradient is asked for."""

import os

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Dies(SplitConformal):
    def _prediction_scores(self, x, generator):
        if x.requires_grad:
            os._exit(3)
        return super()._prediction_scores(x, generator)


class Solver(ConformalSolver):
    name = "dies_under_attack"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Dies(Margin(), problem.alpha)
