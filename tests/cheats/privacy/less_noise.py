"""States half of the noise that is planned, and claims what is planned."""

from dataclasses import replace

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    name = "less_noise"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, replace(plan, noise_multiplier=plan.noise_multiplier / 2), clip_norm=0.1)
