"""DP-SGD by clipping, on the network that clipless training needs."""

from orthobench.harness.privacy import Clipping, PrivateSolver
from orthobench.privacy.projection import SVDProjection


class Solver(PrivateSolver):
    """The 1-Lipschitz network with each example's gradient clipped: what the network alone makes of the accuracy."""

    name = "Clipping on a Lipschitz network"
    requirements = ["pip::opacus", "pip::dp-accounting"]
    parameters = {"clip_norm": [0.1], "temperature": [0.03125], "learning_rate": [2.0]}

    def mechanism(self, optimizer, model, plan):
        how = {"temperature": self.temperature, "project": SVDProjection()}
        return Clipping(optimizer, model, plan, way="ghost", clip_norm=self.clip_norm, **how)
