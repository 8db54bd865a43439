"""Accounts for batches at half of the rate that they were drawn at."""

from dataclasses import replace

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    name = "records_half_the_rate"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        return Clipping(optimizer, model, replace(plan, sampling_rate=plan.sampling_rate / 2), clip_norm=0.1)
