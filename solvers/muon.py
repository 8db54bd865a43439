"""Muon's orthogonaliser: five Newton-Schulz steps with one tuned quintic polynomial."""

from orthobench.harness import IterativeOrthogonaliser
from orthobench.linalg import newton_schulz


class Solver(IterativeOrthogonaliser):
    """Newton-Schulz after Frobenius normalisation (Jordan et al., "Muon", 2024)."""

    name = "Muon"
    steps = 5

    def orthogonalise(self, matrices, steps):
        return newton_schulz(matrices, "muon", steps)
