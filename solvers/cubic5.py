"""Five cubic steps: two products a step instead of three."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """Relaxed cubic iteration, c = 0 (arXiv:2606.00371)."""

    name = "Cubic-5"
    recipe = "cubic5"
