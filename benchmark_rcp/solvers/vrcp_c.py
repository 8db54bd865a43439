"""VRCP-C: scores bounded at calibration, by CROWN or intervals."""

from orthobench.conformal import VRCPC
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Verifiably robust conformal prediction (Jeary et al., 2024), with bounds at calibration."""

    name = "VRCP-C"
    parameters = {"network": ["noise", "standard"], "score": ["softmax"], "bounds": ["crown"], "rows": ["margins"]}
    needs_images = True

    def predictor(self, problem):
        options = {"method": self.bounds, "rows": self.rows}
        return VRCPC(make_score(self.score), problem.alpha, problem.radius, problem.shape, **options)
