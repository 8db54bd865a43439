"""Leaves the bias out of its block, so that it gets no noise."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class LeavesOut(Clipping):
    def blocks(self):
        (block,) = super().blocks()
        return [block._replace(names=tuple(name for name in block.names if "bias" not in name))]


class Solver(PrivateSolver):
    name = "leaves_the_bias_out"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return LeavesOut(optimizer, model, plan, clip_norm=0.1)
