"""DP-SGD with Opacus, the gradient of each example by hooks or its norm alone by ghost clipping."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    """Each example's gradient clipped to a norm (Abadi et al., 2016; ghost: Li et al., 2022)."""

    name = "DP-SGD"
    requirements = ["pip::opacus", "pip::dp-accounting"]
    parameters = {"way": ["ghost", "hooks"], "clip_norm": [0.1], "learning_rate": [100.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, plan, way=self.way, clip_norm=self.clip_norm)
