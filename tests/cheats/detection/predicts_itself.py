"""Predicts nothing at all."""

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    def predict(self, detections):
        return None


class Solver(DetectionSolver):
    name = "predicts_itself"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
