"""DP-Adam: Adam on the private gradients of ghost clipping."""

import torch

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    """Adam on clipped and noisy gradients, its second moment not corrected for the noise."""

    name = "DP-Adam"
    requirements = ["pip::opacus", "pip::dp-accounting"]
    parameters = {"clip_norm": [0.1], "learning_rate": [0.2]}
    network = "unconstrained"

    def optimizer(self, parameters):
        return torch.optim.Adam(parameters, lr=self.learning_rate)

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, plan, way="ghost", clip_norm=self.clip_norm)
