"""Sets that are too small: the threshold is that of twice the misses."""

from orthobench.conformal import Margin, SplitConformal, conformal_threshold
from orthobench.harness.conformal import ConformalSolver


class TooSmall(SplitConformal):
    def _threshold(self, scores):
        return conformal_threshold(scores, 2 * self.alpha)


class Solver(ConformalSolver):
    name = "calibrates_too_high"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return TooSmall(Margin(), problem.alpha)
