"""Returns gradients as if they were private: it claims no block."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Pretends(Clipping):
    def blocks(self):
        return []


class Solver(PrivateSolver):
    name = "not_private"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Pretends(optimizer, model, plan, clip_norm=0.1)
