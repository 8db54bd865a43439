"""Clipless DP-SGD with the gradient of the loss, with respect to the outputs, clipped."""

from orthobench.harness.privacy import ClipFree, PrivateSolver


class Solver(PrivateSolver):
    """Lipschitz networks, and a gradient of each example's loss of norm c at most (Bethune et al., 2024)."""

    name = "Clipless with loss clipping"
    requirements = ["pip::dp-accounting"]
    parameters = {
        "allocation": ["optimal"],
        "clip_norm": [0.1],
        "projection": ["svd"],
        "temperature": [0.03125],
        "learning_rate": [2.0],
    }

    def mechanism(self, optimizer, model, plan):
        how = {"allocation": self.allocation, "projection": self.projection, "loss_gradient_clip": self.clip_norm}
        return ClipFree(optimizer, model, plan, temperature=self.temperature, **how)
