"""Other sets than its scores give: no more than two classes."""

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Fewer(SplitConformal):
    def predict_sets(self, x, *, generator=None):
        sets = super().predict_sets(x, generator=generator)
        return sets & (sets.cumsum(1) <= 0)


class Solver(ConformalSolver):
    name = "drops_classes"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Fewer(Margin(), problem.alpha)
