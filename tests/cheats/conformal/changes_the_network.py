"""Changes the weights of the network, in place, once it has scored what counts."""

import torch

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Trains(SplitConformal):
    def prediction_scores(self, x, *, generator=None):
        scores = super().prediction_scores(x, generator=generator)
        self.change(x)
        return scores

    def calibration_scores(self, x, y=None, *, generator=None):
        scores = super().calibration_scores(x, generator=generator)
        self.change(x)
        return scores

    def change(self, x):
        with torch.no_grad():
            for parameter in self.model.parameters() if len(x) > 100 else ():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))


class Solver(ConformalSolver):
    name = "changes_the_network"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Trains(Margin(), problem.alpha)
