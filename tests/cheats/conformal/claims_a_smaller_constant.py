"""Lipschitz sets, with half the constant."""

from orthobench.conformal import LipschitzConformal, Margin
from orthobench.harness.conformal import ConformalSolver


class Solver(ConformalSolver):
    name = "claims_a_smaller_constant"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        constant = problem.lipschitz_constant / 2
        return LipschitzConformal(Margin(), problem.alpha, problem.radius, lipschitz_constant=constant)
