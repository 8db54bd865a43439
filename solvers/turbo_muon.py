"""Turbo-Muon's orthogonaliser: AOL preconditioning, then four Newton-Schulz steps."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """AOL row rescaling, which reuses the first Gram matrix, then distinct quintic steps (Boissin et al., 2025)."""

    name = "Turbo-Muon"
    recipe = "turbo_muon"
