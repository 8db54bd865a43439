"""Takes smaller margins where many splits are calibrated at once."""

from dataclasses import replace

from orthobench.conformal.detection import SequentialController
from orthobench.harness.detection import DetectionSolver


class Own(SequentialController):
    calls = 0

    def _choose(self, losses):
        found = super()._choose(losses)
        return replace(found, margin=found.margin / 2) if len(losses) < len(losses._pool[1]) else found


class Solver(DetectionSolver):
    name = "smaller_where_many"

    def controller(self, problem):
        return Own(problem.losses, problem.alphas)
