"""Split conformal prediction, which guards against no attack."""

from orthobench.conformal import SplitConformal
from orthobench.harness.conformal import ConformalSolver, make_score


class Solver(ConformalSolver):
    """Vanilla split conformal prediction (Papadopoulos et al., 2002; Sadinle, Lei and Wasserman, 2019)."""

    name = "Vanilla"
    parameters = {"network": ["standard", "lipschitz", "noise"], "score": ["softmax"]}

    def predictor(self, problem):
        return SplitConformal(make_score(self.score), problem.alpha)
