"""RSCP+: RSCP with corrections for finitely many samples."""

from orthobench.conformal.smoothing import RSCPPlus
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Provably robust conformal prediction with improved efficiency (Yan, Romano and Weng, 2024)."""

    name = "RSCP-plus"
    parameters = {"network": ["noise"], "score": ["probability"], "samples": [256], "sigma_by_radius": [1.0]}
    needs_images = True

    def predictor(self, problem):
        sigma = self.sigma_by_radius * problem.radius
        score = make_score(self.score)
        return RSCPPlus(score, problem.alpha, problem.radius, sigma=sigma, samples=self.samples)
