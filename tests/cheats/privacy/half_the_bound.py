"""States half of the bound on what an example adds, and makes the noise for it."""

from orthobench.harness.privacy import ClipFree, PrivateSolver


class Solver(PrivateSolver):
    name = "half_the_bound"
    parameters = {"learning_rate": [0.1]}

    def mechanism(self, optimizer, model, plan):
        mechanism = ClipFree(optimizer, model, plan, temperature=0.125)
        constant = mechanism._private._sensitivity.loss_constant
        mechanism._private._sensitivity.loss_constant = lambda norm: constant(norm) / 2
        return mechanism
