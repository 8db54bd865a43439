"""One margin for all sides, by the conformal quantile of the largest distance of detected boxes."""

from orthobench.conformal.detection import MaxAdditiveController
from orthobench.harness.detection import DetectionSolver


class Solver(DetectionSolver):
    """Box-wise or image-wise coverage of detected boxes (Andeol et al., 2023): it claims nothing of missed ones."""

    name = "Max-additive"
    parameters = {"by": ["box", "image"], "score": [0.5]}

    def controller(self, problem):
        alphas = {"localisation": problem.alphas["localisation"]}
        return MaxAdditiveController(problem.losses, alphas, score=self.score, by=self.by)
