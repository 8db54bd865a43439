"""Halves its levels in the claim, and calibrates at those that were asked for."""

from dataclasses import replace

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    @property
    def claim(self):
        claim = super().claim
        return replace(claim, levels={name: level / 2 for name, level in claim.levels.items()})


class Solver(DetectionSolver):
    name = "claims_half"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
