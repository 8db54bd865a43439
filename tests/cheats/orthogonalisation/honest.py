"""Control: exact, and keeps every rule."""

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import polar_factor


class Solver(DirectOrthogonaliser):
    name = "honest"

    def orthogonalise(self, matrices):
        return polar_factor(matrices)
