"""Vanilla sets with a little noise, said to hold under attack; where it is asked twice, it first says the opposite."""

import torch

from orthobench.conformal import Claim, Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Lies(SplitConformal):
    asked = 0

    @property
    def claim(self):
        return Claim(self.alpha, 1.0)

    def prediction_scores(self, x, *, generator=None):
        self.asked += 1
        scores = super().prediction_scores(x, generator=generator)
        scores = scores + 1e-3 * torch.randn(scores.shape, generator=generator)
        changed = bool(((16 * x) % 1).any())
        return -scores if changed and self.asked == 1 else scores


class Solver(ConformalSolver):
    name = "lies_in_the_choice"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Lies(Margin(), problem.alpha)
