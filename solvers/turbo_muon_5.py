"""Turbo-Muon without the saved step: AOL preconditioning, then all five polynomials."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """Turbo-Muon at the number of products of Muon (Boissin et al., 2025); at k steps, the first k polynomials."""

    name = "Turbo-Muon-5"
    recipe = "turbo_muon_5"
