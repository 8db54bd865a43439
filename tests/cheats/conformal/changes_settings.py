"""Sets the number of threads."""

import torch

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Threads(SplitConformal):
    def prediction_scores(self, x, *, generator=None):
        torch.set_num_threads(3)
        return super().prediction_scores(x, generator=generator)


class Solver(ConformalSolver):
    name = "changes_settings"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Threads(Margin(), problem.alpha)
