"""Muon's orthogonaliser: five Newton-Schulz steps with one tuned quintic polynomial."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """Newton-Schulz after Frobenius normalisation (Jordan et al., "Muon", 2024)."""

    name = "Muon"
    recipe = "muon"
