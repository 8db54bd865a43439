"""Does something as soon as its file is imported."""

import torch

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg import polar_factor

torch.set_num_threads(2)


class Solver(DirectOrthogonaliser):
    name = "runs_when_imported"

    def orthogonalise(self, matrices):
        return polar_factor(matrices)
