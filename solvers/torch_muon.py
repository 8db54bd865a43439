"""The orthogonaliser of torch.optim.Muon, as torch ships it: always in bfloat16, one matrix at a time."""

from torch.optim._muon import _zeropower_via_newtonschulz as zeropower  # torch offers no public name

from orthobench.harness import IterativeOrthogonaliser

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Solver(IterativeOrthogonaliser):
    """torch.optim.Muon's Newton-Schulz iteration; a copy of each matrix, which it may overwrite, is billed to it."""

    name = "torch.optim.Muon"
    steps = 5

    def orthogonalise(self, matrices, steps):
        return [zeropower(matrix.clone(), COEFFICIENTS, steps, 1e-7).to(matrix.dtype) for matrix in matrices]
