"""A margin for each side, by conformal quantiles of the detected boxes at a quarter of alpha."""

from orthobench.conformal.detection import BonferroniController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    """Box-wise coverage of detected boxes (de Grancey et al., 2022): it claims nothing of an image."""

    name = "Bonferroni box-wise"
    parameters = {"margins": ["additive"], "score": [0.5]}

    def controller(self, problem):
        alphas = {"localisation": problem.alphas["localisation"]}
        return BonferroniController(problem.losses, alphas, score=self.score)
