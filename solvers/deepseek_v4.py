"""DeepSeek-V4's ten steps: eight to raise the small singular values, two to settle."""

from orthobench.harness import NewtonSchulz


class Solver(NewtonSchulz):
    """Eight steps of Muon's polynomial, then two of (2, -1.5, 0.5)."""

    name = "DeepSeek-V4"
    recipe = "deepseek_v4"
