"""Polar Express: the composition of five quintics that is best in the worst case."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """Minimax composition on [1e-3, 1], safety 0.02, cushion 0.02 (Amsel et al., 2025)."""

    name = "Polar Express"
    recipe = "polar_express"
