"""Leaves torch with other settings for whoever comes next."""

import torch

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import polar_factor


class Solver(DirectOrthogonaliser):
    name = "leaves_settings"

    def orthogonalise(self, matrices):
        torch.set_float32_matmul_precision("medium")
        torch.set_flush_denormal(True)
        factors = polar_factor(matrices)
        torch.set_default_dtype(torch.float64)
        return factors
