"""Takes more threads."""

import torch

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    def _choose(self, losses):
        torch.set_num_threads(3)
        return super()._choose(losses)


class Solver(DetectionSolver):
    name = "changes_settings"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
