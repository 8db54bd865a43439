"""Starts a process that goes on when it has answered."""

import os
import time

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Forks(SplitConformal):
    def prediction_scores(self, x, *, generator=None):
        if not os.fork():
            time.sleep(60)
            os._exit(0)
        return super().prediction_scores(x, generator=generator)


class Solver(ConformalSolver):
    name = "leaves_a_process"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Forks(Margin(), problem.alpha)
