"""DP-SGD with a threshold that follows a quantile of the norms."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    """Adaptive clipping (Andrew et al., 2021), by Opacus, the median as the target."""

    name = "Adaptive clipping"
    requirements = ["pip::opacus", "pip::dp-accounting"]
    parameters = {"clip_norm": [0.1], "learning_rate": [10.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, plan, way="adaptive", clip_norm=self.clip_norm)
