"""Takes the supremum of the mean loss over lower scores, not that of each loss."""

import numpy as np

from orthobench.conformal.detection import SequentialController, Thresholds
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    def _choose(self, losses):
        chosen, found = super()._choose(losses), {}
        for risk, each in losses.second_step.items():
            scores = np.unique(losses.images[0].scores)
            scores = [self.optimistic_score, *scores[scores < self.optimistic_score]]
            allowed = self.alphas[risk] * (len(losses) + 1) - 1
            found[risk] = max(max(0.0, each.fixed(-score).least(allowed)) for score in scores)
        return Thresholds(chosen.score, found["localisation"], found["classification"])


class Solver(DetectionSolver):
    name = "supremum_of_the_mean"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
