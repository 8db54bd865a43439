"""The bases of the root benchmark's data sets and solvers."""

import math

import torch
from benchopt import BaseDataset

from ..data.cache import cached
from ..linalg import ExactFactors, aol_rescale, exact_factors, newton_schulz
from ..linalg.recipes import get_recipe
from .products import count_products, plain_product_rate
from .provenance import package_hash
from .solver import IterationSolver, RunOnceSolver
from .status import InvalidResult
from .unsaved import Unsaved

# What a method may apply before it iterates; its limit is then the polar factor of the rescaled matrix.
PRECONDITIONERS = {"aol": aol_rescale}


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


class _Orthogonaliser:
    """What the root benchmark's solvers share, whatever their strategy.

    A solver implements ``orthogonalise``. It must leave its input as it is: the input is compared afterwards.

    Attributes
    ----------
    preconditioner : str or None
        A key of ``PRECONDITIONERS`` if the method rescales its input, so that it has a limit of its own.
    exponents : tuple of float or None
        Exponents e for which the method computes U S^e V^T; the default is the polar factor alone. None means any.
    exponent : float
        The one to compute in this cell.
    """

    preconditioner = None
    exponents = (0,)
    exponent = 0

    def skip(self, exponent, **problem):
        """Skip the exponents that the method doesn't compute."""
        if self.exponents is None or exponent in self.exponents:
            return False, None
        available = ", ".join(f"{each:g}" for each in self.exponents)
        return True, f"{self.name} does not compute U S^e V^T for e = {exponent:g}, only for e = {available}"

    def receive(self, matrices, dtype, exponent):
        if self.preconditioner is not None and self.preconditioner not in PRECONDITIONERS:
            raise InvalidResult(
                f"preconditioner {self.preconditioner!r} of {self.name} is unknown: use one of "
                f"{', '.join(PRECONDITIONERS)}, or None"
            )
        self.exponent = exponent
        self._matrices = [matrix.to(device=self.device, dtype=getattr(torch, dtype)) for matrix in matrices]
        self._warm = False

    def prepare(self, stop_val):
        arguments = self._arguments(stop_val)
        if not self._warm:
            self.orthogonalise(self._throwaways(), *arguments)
            self._warm = True
        self._product_counts = self._count(arguments)
        self._final = stop_val == self.evaluation_points[-1]
        self._product_rate = plain_product_rate(*self._problem_kind())
        # The method gets copies: what it does to them can't reach anybody else.
        self._inputs = [matrix.clone() for matrix in self._matrices]
        self._outputs = None

    def compute(self, *arguments):
        # A list of its own, so that not even the list is shared.
        self._outputs = self.orthogonalise(list(self._inputs), *arguments)

    def result(self):
        if not all(map(torch.equal, self._inputs, self._matrices)):
            raise InvalidResult(f"{self.name} modified its input: work on a copy")
        products, flops = self._product_counts
        return {
            "outputs": Unsaved(self._outputs),
            "preconditioner": self.preconditioner,
            "final": self._final,
            "elapsed_s": self.stopwatch.elapsed_s,
            "products": products,
            "flops": flops,
            "product_rate": self._product_rate,
        }

    def _problem_kind(self):
        shapes = tuple(tuple(matrix.shape) for matrix in self._matrices)
        return shapes, self._matrices[0].dtype, self.device

    def _count(self, arguments):
        # Counting is slow; one instance serves all repetitions, whose matrices differ in their values alone.
        counts = vars(self).setdefault("_counts", {})
        key = *self._problem_kind(), self.exponent, arguments
        if key not in counts:
            counts[key] = count_products(self.orthogonalise, self._throwaways(), *arguments)
        return counts[key]

    def _throwaways(self):
        # Other values than the real ones: a method that remembers its answers gains nothing.
        return [torch.randn_like(matrix) * matrix.abs().max() for matrix in self._matrices]


class IterativeOrthogonaliser(_Orthogonaliser, IterationSolver):
    """An iterative method: one point for each number of iterations from 1 to ``steps``.

    Attributes
    ----------
    steps : int
    """

    def orthogonalise(self, matrices, steps):
        """Return the orthogonalised ``matrices`` (a list of tensors, on one device) after ``steps`` iterations."""
        raise NotImplementedError

    def _arguments(self, steps):
        return (steps,)


class NewtonSchulz(IterativeOrthogonaliser):
    """A recipe of `orthobench.linalg.RECIPES`, which says how many steps there are and what comes before them.

    A solver sets ``recipe``, as an attribute or a parameter.

    Attributes
    ----------
    method : str
        As for `newton_schulz`: "plain" or "gram".
    """

    method = "plain"

    @property
    def steps(self):
        """The number of published steps."""
        return len(get_recipe(self.recipe).coefficients)

    @property
    def preconditioner(self):
        """What the recipe applies first."""
        return get_recipe(self.recipe).preconditioner

    def orthogonalise(self, matrices, steps):
        return newton_schulz(matrices, self.recipe, steps, self.method)


class DirectOrthogonaliser(_Orthogonaliser, RunOnceSolver):
    """A direct method: one point."""

    def orthogonalise(self, matrices):
        """Return the orthogonalised ``matrices`` (a list of tensors, on one device)."""
        raise NotImplementedError

    def _arguments(self, _):
        return ()


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
