"""Turbo-Muon with the coefficients that its authors have replaced since, still in circulation."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """AOL and four steps: v0 is the genetic search of September 2025, v1 NVIDIA's coefficient_type="aol"."""

    name = "Turbo-Muon superseded"
    parameters = {"recipe": ["turbo_muon_v0", "turbo_muon_v1"]}
