"""VRCP-I: scores bounded at inference, by CROWN or intervals."""

from orthobench.conformal import VRCPI
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Verifiably robust conformal prediction (Jeary et al., 2024), with bounds at inference."""

    name = "VRCP-I"
    parameters = {"network": ["noise", "standard"], "score": ["softmax"], "bounds": ["crown"], "rows": ["margins"]}
    needs_images = True

    def predictor(self, problem):
        options = {"method": self.bounds, "rows": self.rows}
        return VRCPI(make_score(self.score), problem.alpha, problem.radius, problem.shape, **options)
