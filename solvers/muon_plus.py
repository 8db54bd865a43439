"""Newton-Schulz with five distinct polynomials: the baseline of Turbo-Muon's paper."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """You's coefficients (2024), called Muon+ in Boissin et al., "Turbo-Muon", 2025."""

    name = "Muon-plus"
    recipe = "muon_plus"
