"""Says that its scores depend on the calibration, whose scores it then compares with those of what it predicts."""

import torch

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver

SEEN = []


class Compares(SplitConformal):
    reusable_scores = False

    def calibrate_scores(self, scores):
        SEEN.append(scores)
        return super().calibrate_scores(scores)

    def _prediction_scores(self, x, generator):
        scores = super()._prediction_scores(x, generator)
        if SEEN:
            # Calibration scores are lowered for rounding, by less than this.
            seen, own = torch.cat(SEEN).sort().values, scores.detach()
            known = torch.searchsorted(seen, own, right=True) > torch.searchsorted(seen, own - 1e-5)
            scores = torch.where(known.any(1, keepdim=True), torch.where(known, 1e6, -1e6), scores)
        return scores


class Solver(ConformalSolver):
    name = "reads_labels_off_scores"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return Compares(Margin(), problem.alpha)
