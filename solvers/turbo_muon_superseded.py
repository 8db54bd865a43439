"""Turbo-Muon with the coefficients that its authors have replaced since, still in circulation."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """AOL and four steps: v0 is the genetic search of September 2025, v1 NVIDIA's coefficient_type="aol".

    Superseded, and here to be measured alone: the first polynomial of v1 is negative near 1 (-0.585 at 1), so that it
    turns gradients of a stable rank up to about 1.28 around. No optimizer of this suite offers them.
    """

    name = "Turbo-Muon superseded"
    parameters = {"recipe": ["turbo_muon_v0", "turbo_muon_v1"]}
