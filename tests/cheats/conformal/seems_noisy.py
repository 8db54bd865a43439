"""Misses twice as often, and has a size of noise: there are weaker tests where there is noise."""

from orthobench.conformal import Margin, SplitConformal, conformal_threshold
from orthobench.harness.conformal import ConformalSolver


class Seems(SplitConformal):
    sigma, samples = 0.01, 2

    def _threshold(self, scores):
        return conformal_threshold(scores, 2 * self.alpha)


class Solver(ConformalSolver):
    name = "seems_noisy"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Seems(Margin(), problem.alpha)
