"""RSCP: a smoothed score, whose mean is taken to be that of finitely many samples."""

from orthobench.conformal.smoothing import RSCP
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Adversarially robust conformal prediction (Gendler et al., 2022): without corrections, it claims nothing."""

    name = "RSCP"
    parameters = {"network": ["noise"], "score": ["probability"], "samples": [256], "sigma_by_radius": [1.0]}
    needs_images = True

    def predictor(self, problem):
        sigma = self.sigma_by_radius * problem.radius
        score = make_score(self.score)
        return RSCP(score, problem.alpha, problem.radius, sigma=sigma, samples=self.samples)
