"""RCP1: one noise sample an input, and a lower level."""

from orthobench.conformal.smoothing import RCP1
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Robust conformal prediction with one sample: a certificate of the coverage itself, not of scores."""

    name = "RCP1"
    parameters = {"network": ["noise"], "score": ["softmax"], "sigma_by_radius": [1.0]}
    needs_images = True

    def predictor(self, problem):
        sigma = self.sigma_by_radius * problem.radius
        return RCP1(make_score(self.score), problem.alpha, problem.radius, sigma=sigma)
