"""The base of the root benchmark's data sets, and its metrics of time."""

import math

import torch
from benchopt import BaseDataset

from ...data.cache import cached
from ...linalg import ExactFactors, exact_factors
from ...provenance import package_hash
from .solvers import PRECONDITIONERS


class MatrixDataset(BaseDataset):
    """A data set of matrices. A subclass implements :meth:`matrices`."""

    def matrices(self, seed):
        """Return the matrices of one repetition, the same for the same seed.

        Parameters
        ----------
        seed : int

        Returns
        -------
        dict of str to torch.Tensor, or list of torch.Tensor
            Float32 matrices (m, n), by name; in a list they are named 0, 1, ...
        """
        raise NotImplementedError

    def prepare(self):
        """Nothing to download; what is expensive depends on the repetition, and is cached when first used."""

    def get_data(self):
        """Return the matrices of this repetition with their exact factors, and those after each preconditioner."""
        made = self.matrices(self.get_seed(use_repetition=True))
        named = made if isinstance(made, dict) else {str(index): matrix for index, matrix in enumerate(made)}
        matrices = list(named.values())
        arrays = [matrix.numpy() for matrix in matrices]
        factors, limits = _factorise(arrays, package_hash())
        return {
            "names": list(named),
            "matrices": matrices,
            "factors": _to_torch(factors),
            "limits": {name: _to_torch(limit) for name, limit in limits.items()},
        }


@cached
def _factorise(arrays, package):
    """Return the exact factors of ``arrays`` and of each preconditioned version, as NumPy arrays.

    ``package``, the hash of this package, is there to be part of the cache key.
    """
    matrices = [torch.from_numpy(array) for array in arrays]
    factors = [exact_factors(matrix) for matrix in matrices]
    limits = {
        # A diagonal scaling keeps the rank; the rescaled matrix's own small singular values say nothing about it.
        name: [
            exact_factors(rescale(matrix.double()), rank=len(each.singular_values))
            for matrix, each in zip(matrices, factors, strict=True)
        ]
        for name, rescale in PRECONDITIONERS.items()
    }
    return _to_numpy(factors), {name: _to_numpy(limit) for name, limit in limits.items()}


def _to_numpy(factors):
    return [tuple(part.numpy() for part in each) for each in factors]


def _to_torch(factors):
    return [ExactFactors(*map(torch.from_numpy, each)) for each in factors]


def timing_metrics(count, elapsed_s, products, flops, product_rate):
    """Return the root benchmark's metrics of time and work.

    Parameters
    ----------
    count : int
        Number of matrices.
    elapsed_s : float
        Seconds for all of them.
    products, flops : float
        Matrix products and floating-point operations for all of them; NaN if they don't apply.
    product_rate : float
        FLOP rate of one plain product of the same shapes, type and device.

    Returns
    -------
    dict
        ``matmul_count`` and ``flops`` and ``time_per_matrix_s`` a matrix, and ``matmul_efficiency``: the method's
        FLOP rate over ``product_rate``.
    """
    return {
        "matmul_count": products / count,
        "flops": flops / count,
        "time_per_matrix_s": elapsed_s / count,
        "matmul_efficiency": flops / elapsed_s / product_rate if elapsed_s > 0 else math.nan,
    }
