"""U S^e V^T by matrix products alone."""

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import schatten_power


class Solver(DirectOrthogonaliser):
    """A weighted sum of the iterates of ten quintic steps, in full float32 (OrthoBench; see `schatten_power`)."""

    name = "Schatten-products"
    exponents = (1 / 8, 1 / 4, 1 / 2)
    test_config = {"objective": {"exponent": 0.5}}

    def orthogonalise(self, matrices):
        return schatten_power(matrices, self.exponent, "products")
