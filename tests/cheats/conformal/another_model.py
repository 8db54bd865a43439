"""Sets of a network of its own."""

from torch import nn

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Own(SplitConformal):
    def attach(self, model):
        return super().attach(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))


class Solver(ConformalSolver):
    name = "another_model"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Own(Margin(), problem.alpha)
