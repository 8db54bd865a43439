"""Looks at the part that it is evaluated on."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Solver(PrivateSolver):
    name = "looks_at_held_out"
    parameters = {"learning_rate": [5.0]}

    def mechanism(self, optimizer, model, plan):
        len(self._task.parts.held_out)
        return Clipping(optimizer, model, plan, clip_norm=0.1)
