"""Calibrates the second step on images in which something is detected."""

from orthobench.harness.detection import DetectionSolver
from orthobench.studies.risk_guarantees import Careless


class Solver(DetectionSolver):
    name = "detected_images_alone"

    def controller(self, problem):
        return Careless(problem.losses, problem.alphas, without="misses")
