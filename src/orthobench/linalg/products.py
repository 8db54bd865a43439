"""Counting the matrix products of a method, and how fast one plain product is."""

import functools
import math
import statistics

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ..device import Stopwatch
from .recipes import RECIPES
from .symmetric import whole_products

aten = torch.ops.aten

# A method that uses one of these does work that no count of products covers.
FACTORISATIONS = {
    aten._linalg_svd,
    aten.linalg_qr,
    aten.geqrf,
    aten.linalg_householder_product,
    aten._linalg_eigh,
    aten.linalg_eig,
    aten.linalg_cholesky_ex,
    aten.linalg_lu_factor_ex,
    aten.linalg_ldl_factor_ex,
    aten._linalg_solve_ex,
    aten.linalg_inv_ex,
    aten.linalg_solve_triangular,
    aten.triangular_solve,
    aten.linalg_lstsq,
}


class ProductCounter(TorchDispatchMode):
    """Counts, while active, the matrix products that reach torch.

    Attributes
    ----------
    products : int
        A batch of k products counts as k.
    flops : int
        Their floating-point operations, two for each multiplication and addition.
    factorised : bool
        Whether a factorisation was used as well, so that the counts don't tell the work.
    """

    @classmethod
    def _should_skip_dynamo(cls):
        """Say no: torch would import its compiler, a third of the memory that is copied at each start of a stand."""
        return False

    def __init__(self):
        super().__init__()
        self.products = 0
        self.flops = 0
        self.factorised = False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        operation = function._overloadpacket
        if operation in FACTORISATIONS:
            self.factorised = True
        elif operation in flop_registry:
            self.products += math.prod(output.shape[:-2])
            self.flops += flop_registry[operation](*args, **(kwargs or {}), out_val=output)
        return output


def count_products(method, *args):
    """Run ``method(*args)`` and return ``(products, flops)``, NaN both if it factorises matrices or uses no product.

    These are nominal figures: a symmetric product that is computed by halves counts as a whole one.
    """
    with whole_products(), ProductCounter() as counter:
        method(*args)
    if counter.factorised or not counter.products:
        return math.nan, math.nan
    return float(counter.products), float(counter.flops)


def symmetric_flops(rows, columns, recipe):
    """Count the operations that symmetry leaves of a Newton-Schulz recipe in its plain form.

    With m <= n, in each step X X^T takes m^2 n, its square m^3, and the product of a polynomial in it with X 2 m^2 n.
    """
    m, n = sorted((rows, columns))
    return sum(3 * m**2 * n + (m**3 if c else 0) for _, _, c in RECIPES[recipe].polynomials(None))


@functools.cache
def plain_product_rate(shapes, dtype, device, repetitions=7):
    """Return the FLOP rate of one plain product X X^T (the short side first) of each of ``shapes``, in 1/s.

    Equal shapes are multiplied in one batch. Measured once a process: the median of ``repetitions``, after a warm-up.

    Parameters
    ----------
    shapes : tuple of tuple of int
    dtype : torch.dtype
    device : torch.device
    repetitions : int
    """
    generator = torch.Generator().manual_seed(0)
    batches, flops = [], 0
    for rows, columns in dict.fromkeys((min(shape), max(shape)) for shape in shapes):
        count = sum({rows, columns} == set(shape) for shape in shapes)
        batch = torch.randn(count, rows, columns, generator=generator).to(device=device, dtype=dtype)
        batches.append(batch)
        flops += 2 * count * rows * rows * columns
    times = []
    for _ in range(repetitions + 1):
        stopwatch = Stopwatch(device)
        stopwatch.start()
        for batch in batches:
            torch.matmul(batch, batch.mT)
        stopwatch.stop()
        times.append(stopwatch.elapsed_s)
    return flops / statistics.median(times[1:])
