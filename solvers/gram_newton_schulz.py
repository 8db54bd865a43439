"""Gram Newton-Schulz: the same polynomials, iterated on the small Gram matrix."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """You's five polynomials in Gram form with restarts (Zhang et al., 2026); in float32 when given bfloat16."""

    name = "Gram Newton-Schulz"
    recipe = "you5"
    method = "gram"
