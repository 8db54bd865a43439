"""Smoothed sets, by the rules."""

from orthobench.conformal import LAC
from orthobench.conformal.smoothing import RCP1
from orthobench.harness.conformal import ConformalSolver


class Solver(ConformalSolver):
    name = "honest_noise"
    parameters = {"network": ["noise"]}

    def predictor(self, problem):
        return RCP1(LAC(), problem.alpha, problem.radius, sigma=problem.radius)
