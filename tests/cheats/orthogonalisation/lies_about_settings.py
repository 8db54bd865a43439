"""Takes another precision and more threads, and has torch say otherwise."""

import torch

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import polar_factor


class Solver(DirectOrthogonaliser):
    name = "lies_about_settings"

    def orthogonalise(self, matrices):
        torch.get_float32_matmul_precision = lambda: "highest"
        torch.set_float32_matmul_precision("medium")
        torch.get_num_threads = lambda: 1
        torch.set_num_threads(2)
        return polar_factor(matrices)
