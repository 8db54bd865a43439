"""lip-rcp: the threshold is lowered by what an attack can take from the score of a Lipschitz network."""

from orthobench.conformal import LipschitzConformal
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Efficient robust conformal prediction via Lipschitz-bounded networks (Massena et al., 2025)."""

    name = "lip-rcp"
    requirements = ["pip::orthogonium"]
    parameters = {"network": ["lipschitz"], "score": ["margin", "softmax", "sigmoid"]}

    def predictor(self, problem):
        constant = problem.lipschitz_constant
        return LipschitzConformal(make_score(self.score), problem.alpha, problem.radius, lipschitz_constant=constant)
