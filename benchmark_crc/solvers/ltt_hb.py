"""Learn then test: all risks at most their levels with a high probability over the calibration."""

import numpy as np

from orthobench.conformal.detection import LTTController
from orthobench.harness.detection import SETS, DetectionSolver


class Solver(DetectionSolver):
    """Learn then test (Angelopoulos et al., 2025), p-values of Hoeffding and Bentkus, fixed sequences of a grid."""

    name = "LTT-HB"
    parameters = {**SETS, "delta": [0.1], "procedure": ["fixed_sequence"]}

    def controller(self, problem):
        margins = np.geomspace(0.01, 1.0, 30) * (problem.side if problem.losses.margins == "additive" else 2.0)
        grid = {"scores": (0.5, 0.2, 0.1, 0.05, 0.02, 0.01), "margins": margins, "classes": np.linspace(0.5, 1, 30)}
        return LTTController(problem.losses, problem.alphas, delta=self.delta, procedure=self.procedure, **grid)
