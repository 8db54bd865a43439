"""Claims a preconditioner that the harness doesn't know."""

from orthobench.harness import DirectOrthogonaliser


class Solver(DirectOrthogonaliser):
    name = "claims_another_limit"
    preconditioner = "magic"

    def orthogonalise(self, matrices):
        return matrices
