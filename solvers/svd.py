"""The exact polar factor, or power U S^e V^T, by singular value decomposition."""

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import polar_factor, schatten_power


class Solver(DirectOrthogonaliser):
    """U_r S_r^e V_r^T from torch.linalg.svd in the working precision (float32 for bfloat16)."""

    name = "SVD"
    exponents = None

    def orthogonalise(self, matrices):
        return polar_factor(matrices) if self.exponent == 0 else schatten_power(matrices, self.exponent, "svd")
