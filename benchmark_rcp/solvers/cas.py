"""CAS: bounds by the distribution of the smoothed score."""

from orthobench.conformal.smoothing import CAS
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Robust yet efficient conformal prediction sets (Zargarbashi, Akhondzadeh and Bojchevski, 2024)."""

    name = "CAS"
    parameters = {"network": ["noise"], "score": ["probability"], "samples": [256], "sigma_by_radius": [1.0]}
    needs_images = True

    def predictor(self, problem):
        sigma = self.sigma_by_radius * problem.radius
        score = make_score(self.score)
        return CAS(score, problem.alpha, problem.radius, sigma=sigma, samples=self.samples)
