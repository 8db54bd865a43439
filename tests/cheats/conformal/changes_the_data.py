"""Overwrites what it was given, the images that it is to predict among it."""

from orthobench.conformal import Margin, SplitConformal
from orthobench.harness.conformal import ConformalSolver


class Solver(ConformalSolver):
    name = "changes_the_data"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        for tensor in (self._data.calibration.inputs, self._data.test_inputs):
            tensor.fill_(0.5)
        return SplitConformal(Margin(), problem.alpha)
