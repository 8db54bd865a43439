"""Is evaluated where it likes."""

from orthobench.harness import IterativeOrthogonaliser
from orthobench.linalg import polar_factor


class Solver(IterativeOrthogonaliser):
    name = "chooses_its_points"
    steps = 3
    evaluation_points = (7,)

    def orthogonalise(self, matrices, steps):
        return polar_factor(matrices)
