"""Orthogonium's Cholesky parametrisation: L^-1 X for the Cholesky factor L of X X^T."""

import torch
from orthogonium.reparametrizers import BatchedCholeskyOrthogonalization, BatchedPowerIteration

from orthobench.harness import DirectOrthogonaliser
from orthobench.linalg.shapes import map_by_shape


class Solver(DirectOrthogonaliser):
    """Spectral normalisation by power iteration, then Cholesky with 1e-5 added to the diagonal; at least float32."""

    name = "Orthogonium Cholesky"
    requirements = ["pip::orthogonium"]

    def orthogonalise(self, matrices):
        return map_by_shape(self.parametrise, matrices)

    def parametrise(self, X):
        W = X.to(torch.promote_types(X.dtype, torch.float32))
        normalise = BatchedPowerIteration(W.shape, power_it_niter=3, eps=1e-6).to(W.device, W.dtype)
        return BatchedCholeskyOrthogonalization(W.shape)(normalise(W)).to(X.dtype)
