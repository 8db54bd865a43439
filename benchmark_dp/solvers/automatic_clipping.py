"""AUTO-S: each gradient normalised, with a stability constant, instead of clipped."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    """Automatic clipping (Bu et al., 2023), on the norms of ghost clipping."""

    name = "AUTO-S"
    requirements = ["pip::opacus", "pip::dp-accounting"]
    parameters = {"learning_rate": [16.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, plan, way="automatic", clip_norm=1.0)
