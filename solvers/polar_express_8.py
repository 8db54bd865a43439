"""Polar Express with eight steps: nearly exact for most spectra."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """Minimax composition on [1e-3, 1], safety 0.01, cushion 0.02 (Amsel et al., 2025)."""

    name = "Polar Express 8"
    recipe = "polar_express_8"
