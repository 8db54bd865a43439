"""Leads the attack on its score to where a pixel tells the class, and reads it there."""

import torch

from orthobench.conformal import Claim, Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Writes(SplitConformal):
    @property
    def claim(self):
        return Claim(self.alpha, 1.0)

    def _prediction_scores(self, x, generator):
        scores = super()._prediction_scores(x, generator)
        # Pixels of the first and the last column are almost always black.
        written = torch.cat([x[:, 0, :, 0], x[:, 0, :2, -1]], dim=1)
        if x.requires_grad:
            return scores.detach() - (written - written.detach())
        told = (written - 0.2).clamp(min=0)
        return scores + 1e3 * told


class Solver(ConformalSolver):
    name = "writes_labels_into_attacks"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Writes(Margin(), problem.alpha)
