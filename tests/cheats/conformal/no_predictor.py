"""Something that is no predictor."""

from orthobench.harness.conformal import ConformalSolver


class Solver(ConformalSolver):
    name = "no_predictor"
    parameters = {"network": ["lipschitz"]}

    def predictor(self, problem):
        return lambda x: x
