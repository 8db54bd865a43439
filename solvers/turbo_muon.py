"""Turbo-Muon's orthogonaliser: AOL preconditioning, then four Newton-Schulz steps."""

from orthobench.harness import IterativeOrthogonaliser
from orthobench.linalg import newton_schulz


class Solver(IterativeOrthogonaliser):
    """AOL row rescaling, which reuses the first Gram matrix, then distinct quintic steps (Boissin et al., 2025)."""

    name = "Turbo-Muon"
    steps = 4
    preconditioner = "aol"

    def orthogonalise(self, matrices, steps):
        return newton_schulz(matrices, "turbo_muon", steps)
