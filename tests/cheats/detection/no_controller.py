"""Answers with something else."""

from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    name = "no_controller"

    def controller(self, problem):
        return {"score": 0.5}
