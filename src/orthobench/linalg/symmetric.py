"""Products whose result is symmetric: one triangle is computed, and mirrored.

On a CPU that is done in panels of rows, on a GPU by `kernels`, in tiles.
"""

import contextlib
import itertools

import torch

from . import kernels

# More panels skip more of the lower triangle, (1 - 1/panels) / 2 of the work, but make thinner products.
PANELS = 4
# Below these many multiplications, or rows, thin products lose more than the triangle saves.
SMALLEST_WORK = 2**28
SMALLEST_SIZE = 512

_whole = False


@contextlib.contextmanager
def whole_products():
    """Compute whole products inside the block: for counting what a method costs, whatever symmetry saves."""
    global _whole
    before, _whole = _whole, True
    try:
        with kernels.without_kernels():
            yield
    finally:
        _whole = before


def gram(X, out=None):
    """Compute X X^T.

    Parameters
    ----------
    X : Tensor (m, n) or (batch, m, n)
    out : Tensor (m, m) or (batch, m, m), optional
        Where to write the result; it must not overlap X.

    Returns
    -------
    Tensor (m, m) or (batch, m, m)
        Exactly symmetric where it was computed in panels or tiles.
    """
    if kernels.takes_kernels(X):
        return kernels.gram(X, out)
    product = torch.mm if X.ndim == 2 else torch.bmm
    out = _empty_square(X) if out is None else out
    for start, stop in _panels(X, X.shape[-1]):
        product(X[..., start:stop, :], X[..., start:, :].mT, out=out[..., start:stop, start:])
        _mirror(out, start, stop)
    return out


def quadratic(A, b, c, out=None):
    """Compute b A + c A^2 for a symmetric A.

    Parameters
    ----------
    A : Tensor (m, m) or (batch, m, m)
    b, c : float
    out : Tensor of the same shape, optional
        Where to write the result; it must not overlap A.

    Returns
    -------
    Tensor of the same shape
        Exactly symmetric where it was computed in panels or tiles.
    """
    if c == 0:
        return torch.mul(A, b, out=out)
    if kernels.takes_kernels(A):
        return kernels.quadratic(A, b, c, out)
    product = torch.addmm if A.ndim == 2 else torch.baddbmm
    out = _empty_square(A) if out is None else out
    for start, stop in _panels(A, A.shape[-1]):
        rows, right = A[..., start:stop, :], A[..., start:]
        product(rows[..., start:], rows, right, beta=b, alpha=c, out=out[..., start:stop, start:])
        _mirror(out, start, stop)
    return out


def takes_panels(X):
    """Tell whether `gram` computes X X^T in panels of the rows of X."""
    return len(_panels(X, X.shape[-1])) > 1


def _empty_square(X):
    return X.new_empty(*X.shape[:-1], X.shape[-2])


def _panels(X, inner):
    """Return the panels of rows as (start, stop); a single one where mirroring doesn't pay."""
    size = X.shape[-2]
    if _whole or X.device.type != "cpu" or size < SMALLEST_SIZE or size * size * inner < SMALLEST_WORK:
        return [(0, size)]
    edges = [round(size * i / PANELS) for i in range(PANELS + 1)]
    return list(itertools.pairwise(edges))


def _mirror(out, start, stop):
    """Copy the part of the panel right of its diagonal block to below it.

    Rows so far apart fall on the same lines of a cache: two copies of a packed block are quicker than one across them.
    """
    out[..., stop:, start:stop] = out[..., start:stop, stop:].contiguous().mT.contiguous()
