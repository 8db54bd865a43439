"""Clipless DP-SGD: noise for bounds that a Lipschitz network's gradients keep on their own."""

from orthobench.harness.privacy import ClipFree, PrivateSolver


class Solver(PrivateSolver):
    """Lipschitz networks instead of clipping (Bethune et al., 2024), with one of three ways to divide the noise.

    `constant` is that of the loss: "tight" for outputs as large as they can be, or "any", the square root of 2.
    """

    name = "Clipless"
    requirements = ["pip::dp-accounting"]
    parameters = {
        "allocation": ["global", "per_layer", "optimal"],
        "constant": ["tight"],
        "temperature": [0.125],
        "learning_rate": [0.2],
    }

    def mechanism(self, optimizer, model, plan):
        how = {"temperature": self.temperature, "tight": self.constant == "tight"}
        return ClipFree(optimizer, model, plan, allocation=self.allocation, **how)
