"""Starts a process that goes on."""

import subprocess

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    def _choose(self, losses):
        subprocess.Popen(["sleep", "60"])
        return super()._choose(losses)


class Solver(DetectionSolver):
    name = "leaves_a_process"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
