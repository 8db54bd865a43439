"""Takes more threads than it is given."""

import torch

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import polar_factor


class Solver(DirectOrthogonaliser):
    name = "sets_threads"

    def orthogonalise(self, matrices):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return polar_factor(matrices)
