"""Turbo-Muon's orthogonaliser: AOL preconditioning, then four Newton-Schulz steps."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """AOL row rescaling, which reuses the first Gram matrix, then distinct quintic steps (Boissin et al., 2025).

    The point at k steps is the first k of the four polynomials or, with triples=last, the last k, which the authors'
    code takes.
    """

    name = "Turbo-Muon"
    parameters = {"triples": ["first"]}

    @property
    def recipe(self):
        return {"first": "turbo_muon", "last": "turbo_muon_last"}[self.triples]
