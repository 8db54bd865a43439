"""SGD without any privacy, for reference."""

from orthobench.harness.privacy import NonPrivate, PrivateSolver


class Solver(PrivateSolver):
    """Mini-batch SGD on Poisson batches, without clipping and without noise: it runs at epsilon=inf alone."""

    name = "SGD"
    parameters = {"learning_rate": [40.0]}
    network = "unconstrained"
    private = False
    test_config = {"objective": {"epsilon": "inf"}}

    def mechanism(self, optimizer, model, plan):
        return NonPrivate(optimizer, model, plan)
