"""CANS: Chebyshev-optimised Newton-Schulz, with the safety factor that its published list lacks."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """Five quintics by Remez on an adaptive interval (Grishina et al., 2025), safety 0.01."""

    name = "CANS"
    recipe = "cans"
