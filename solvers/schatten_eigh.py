"""U S^e V^T by an eigendecomposition of the small Gram matrix."""

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import schatten_power


class Solver(DirectOrthogonaliser):
    """G (G G^T)^((e - 1) / 2) from torch.linalg.eigh in float64 (Higham, "Functions of matrices", 2008, chapter 8)."""

    name = "Schatten-eigh"
    exponents = None

    def orthogonalise(self, matrices):
        return schatten_power(matrices, self.exponent, "eigh")
