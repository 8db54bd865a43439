"""Newton-Schulz with You's five distinct quintics: the baseline of Turbo-Muon's paper, which calls it Muon+."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """You's coefficients (2024). Boissin et al., "Turbo-Muon", 2025, call them Muon+, and so did this solver.

    The Muon+ of arXiv:2602.21545 is another method.
    """

    name = "You-5"
    recipe = "you5"
