"""Orthogonium's default parametrisation: spectral normalisation by power iteration, then Bjorck's iteration."""

import torch
from orthogonium.reparametrizers import BatchedBjorckOrthogonalization, BatchedPowerIteration

from orthobench.harness import IterativeOrthogonaliser
from orthobench.linalg.shapes import map_by_shape


class Solver(IterativeOrthogonaliser):
    """Bjorck's iteration of order one, beta = 0.5 (Bjorck and Bowie, 1971), as in Orthogonium; at least float32."""

    name = "Orthogonium Bjorck"
    requirements = ["pip::orthogonium"]
    steps = 12

    def orthogonalise(self, matrices, steps):
        return map_by_shape(lambda X: self.parametrise(X, steps), matrices)

    def parametrise(self, X, steps):
        W = X.to(torch.promote_types(X.dtype, torch.float32))
        normalise = BatchedPowerIteration(W.shape, power_it_niter=3, eps=1e-6).to(W.device, W.dtype)
        return BatchedBjorckOrthogonalization(W.shape, niters=steps)(normalise(W)).to(X.dtype)
