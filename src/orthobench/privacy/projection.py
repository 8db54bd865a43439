"""Projections that leave no singular value above 1, and say what they certify."""

import torch

from ..lipschitz.losses import check_number
from .norms import SMALL, Workspace, cholesky_norm, exact_norm, gelfand_norm, random_start_norm


class Projection:
    """A way to bound the norms of weights, and to bring them down to 1: by division, unless a subclass clips.

    Attributes
    ----------
    failure_probability : float
        Of each call of a method: that what it returns is no bound.
    """

    failure_probability = 0.0

    def __init__(self):
        self.workspace = Workspace()

    def norm(self, name, matrix):
        """Return a bound of the largest singular value of a matrix (m, n), that of the parameter of a name."""
        raise NotImplementedError

    @torch.no_grad()
    def project(self, name, matrix):
        """Bring the singular values of a matrix (m, n) to at most 1, in place; return a bound of the largest."""
        bound = self.norm(name, matrix)
        if not bound > 1:
            return bound
        matrix.div_(bound)
        return 1.0

    def growth(self, name, update):
        """Return a bound of how much a norm grows when a matrix is added: that of the Frobenius norm, at once."""
        return float(torch.linalg.matrix_norm(update))

    def state_dict(self):
        """Return what later bounds depend on."""
        return {}

    def load_state_dict(self, state):
        """Go on from such a state."""


class SVDProjection(Projection):
    """The nearest matrix: each singular value s becomes min(s, 1). In float64; what the others are measured against."""

    def norm(self, name, matrix):
        return exact_norm(matrix)

    @torch.no_grad()
    def project(self, name, matrix):
        if not matrix.isfinite().all():
            return float("nan")
        U, s, Vh = torch.linalg.svd(matrix.double(), full_matrices=False)
        if s[0] > 1:
            matrix.copy_(U * s.clamp(max=1) @ Vh)
        return min(1.0, float(s[0]))


class GelfandProjection(Projection):
    """Division by `gelfand_norm`: deterministic, by products alone. Leaves norms between n^(-1 / 2^(j + 2)) and 1."""

    def __init__(self, squarings=6):
        super().__init__()
        self.squarings = squarings

    def norm(self, name, matrix):
        return gelfand_norm(matrix, self.squarings, self.workspace)


class CholeskyProjection(Projection):
    """Division by `cholesky_norm`: deterministic, tight to about 0.1 %, and the quickest on a CPU."""

    def __init__(self):
        super().__init__()
        self._starts = {}

    def norm(self, name, matrix):
        if min(matrix.shape) <= SMALL:
            return exact_norm(matrix)
        if name not in self._starts:
            generator = torch.Generator().manual_seed(0)
            start = torch.randn(min(matrix.shape), generator=generator, dtype=matrix.dtype)
            self._starts[name] = start.to(matrix.device)
        return cholesky_norm(matrix, self._starts[name], workspace=self.workspace)

    def state_dict(self):
        return {name: start.clone() for name, start in self._starts.items()}

    def load_state_dict(self, state):
        self._starts = {name: start.clone() for name, start in state.items()}


class ProbabilisticProjection(Projection):
    """Division by `random_start_norm`, with fresh vectors each time.

    Parameters
    ----------
    failure_probability : float
        Of each bound; summed over layers and steps, it adds to delta.
    generator : torch.Generator, optional
        Of the vectors, on the device of the weights.
    """

    def __init__(self, failure_probability=1e-12, generator=None):
        super().__init__()
        self.failure_probability = check_number("failure_probability", failure_probability, 0, 1, strict=True)
        if self.failure_probability == 1:
            raise ValueError("failure_probability is 1.0: give a number > 0 and < 1, such as 1e-12")
        self.generator = generator

    def norm(self, name, matrix):
        return random_start_norm(matrix, self.failure_probability, self.generator)

    def growth(self, name, update):
        # The spectral norm of noise is a small part of its Frobenius norm: (m^(1/2) + n^(1/2)) / (m n)^(1/2).
        return random_start_norm(update, self.failure_probability, self.generator, iterations=4)


PROJECTIONS = {
    "svd": SVDProjection,
    "gelfand": GelfandProjection,
    "cholesky": CholeskyProjection,
    "probabilistic": ProbabilisticProjection,
}
