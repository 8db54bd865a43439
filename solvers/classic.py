"""Twelve steps of one convergent quintic: nearly the exact factor."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """(2, -1.5, 0.5), as modded-nanogpt's optimizer track runs it."""

    name = "Classic Newton-Schulz"
    recipe = "classic"
