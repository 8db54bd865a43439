"""BinCP: bounds by how often the noisy score exceeds a level."""

from orthobench.conformal.smoothing import BinCP
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Robust conformal prediction with a single binary certificate (Zargarbashi and Bojchevski, 2025)."""

    name = "BinCP"
    parameters = {
        "network": ["noise"],
        "score": ["softmax"],
        "samples": [256],
        "sigma_by_radius": [1.0],
        "probability": [0.8],
    }
    needs_images = True

    def predictor(self, problem):
        sigma = self.sigma_by_radius * problem.radius
        score = make_score(self.score)
        return BinCP(
            score, problem.alpha, problem.radius, sigma=sigma, samples=self.samples, probability=self.probability
        )
