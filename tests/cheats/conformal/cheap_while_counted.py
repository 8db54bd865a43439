"""Takes one pass where passes are counted, and 64 where sets are judged."""

import torch

from orthobench.conformal import LAC, SplitConformal
from orthobench.conformal.smoothing import RSCP
from orthobench.harness.conformal import ConformalSolver


class Cheap(RSCP):
    def prediction_scores(self, x, *, generator=None):
        if torch.utils._python_dispatch._get_current_dispatch_mode() is None:
            return super().prediction_scores(x, generator=generator)
        return SplitConformal(self.score, self.alpha).attach(self.model).prediction_scores(x)


class Solver(ConformalSolver):
    name = "cheap_while_counted"
    parameters = {"network": ["noise"]}

    def predictor(self, problem):
        return Cheap(LAC(bounded=True), problem.alpha, problem.radius, sigma=problem.radius, samples=64)
