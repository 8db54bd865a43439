"""The exact polar factor, by singular value decomposition."""

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import polar_factor


class Solver(DirectOrthogonaliser):
    """U_r V_r^T from torch.linalg.svd in the working precision (float32 for bfloat16)."""

    name = "SVD"

    def orthogonalise(self, matrices):
        return polar_factor(matrices)
