"""Says that it takes no pass of the network."""

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Free(SplitConformal):
    forward_passes_per_input = 0.001


class Solver(ConformalSolver):
    name = "says_it_costs_nothing"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Free(Margin(), problem.alpha)
