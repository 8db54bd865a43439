"""Five cubic steps: two products a step instead of three."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """Relaxed cubic iteration, c = 0 (arXiv:2606.00371), with a safety factor of 1.01.

    Without it, rounding to bfloat16 turns some gradients of rank 1 around: the first polynomial is 0.02 at 1.
    """

    name = "Cubic-5"
    recipe = "cubic5"
