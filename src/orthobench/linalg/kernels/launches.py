"""The kernels as functions of tensors: what is checked, allocated and launched.

Each launch is an operator of torch, which ``torch.compile`` takes as it is.
"""

import torch

from .blocks import GROUP, SCALING, product_blocks, symmetric_blocks


def gram(X, out=None):
    """Compute X X^T, exactly symmetric.

    Parameters
    ----------
    X : Tensor (m, n) or (batch, m, n)
        float16, bfloat16 or float32, of any strides.
    out : Tensor (m, m) or (batch, m, m), optional
        Where to write the result; it must not overlap X.

    Returns
    -------
    Tensor (m, m) or (batch, m, m)

    Raises
    ------
    ValueError
        If `out` has another shape, type or device.
    """
    out = _checked(out, X, (*X.shape[:-1], X.shape[-2]))
    symmetric_product(X, None, out, X.new_empty(0), 1.0, 0.0)
    return out


def quadratic(A, b, c, out=None):
    """Compute b A + c A^2 for a symmetric A, exactly symmetric.

    Parameters
    ----------
    A : Tensor (m, m) or (batch, m, m)
        As for `gram`.
    b, c : float
    out : Tensor of the same shape, optional
        Where to write the result; it must not overlap A.

    Returns
    -------
    Tensor of the same shape

    Raises
    ------
    ValueError
        If A isn't square, or `out` has another shape, type or device.
    """
    if A.shape[-1] != A.shape[-2]:
        raise ValueError(f"A must have shape (m, m) or (batch, m, m), got {tuple(A.shape)}; give a symmetric matrix.")
    out = _checked(out, A, A.shape)
    symmetric_product(A, A, out, A.new_empty(0), float(c), float(b))
    return out


def add_product(X, W, beta, out=None):
    """Compute beta X + W X, rounded once.

    Parameters
    ----------
    X : Tensor (m, n) or (batch, m, n)
        As for `gram`.
    W : Tensor (m, m) or (batch, m, m)
    beta : float
    out : Tensor of the shape of X, optional
        Where to write the result; it must not overlap X or W.

    Returns
    -------
    Tensor of the shape of X

    Raises
    ------
    ValueError
        If W, or `out`, has another shape, type or device.
    """
    _checked(W, X, (*X.shape[:-1], X.shape[-2]), "W")
    out = _checked(out, X, X.shape)
    product(W, X, out, float(beta))
    return out


def gram_of_scaled_rows(X, divisor):
    """Scale the rows of X in place by D_i = (sum_j |A_ij|)^(-1/2) / divisor, A = X X^T (1 where the sum is 0).

    The sums are those of the first product, before it is rounded; the Gram matrix of D X is D A D.

    Parameters
    ----------
    X : Tensor (m, n) or (batch, m, n)
        As for `gram`. Overwritten.
    divisor : float

    Returns
    -------
    X : Tensor (m, n) or (batch, m, n)
        D X, in the same memory.
    A : Tensor (m, m) or (batch, m, m)
        D X X^T D.
    """
    m, count = X.shape[-2], _count(X)
    A = X.new_empty(*X.shape[:-1], m)
    tiles = -(-m // symmetric_blocks(m, count).rows)
    sums = X.new_empty(count, tiles, m, dtype=torch.float32)
    symmetric_product(X, None, A, sums, 1.0, 0.0)
    scale_rows(X, A, sums, float(divisor))
    return X, A


def _checked(tensor, X, shape, name="out"):
    """Return a tensor of that shape, type and device: a new one for None."""
    if tensor is None:
        # Of a transposed matrix, in the order of its memory.
        return torch.empty_like(X) if shape == X.shape else X.new_empty(shape)
    if (tensor.shape, tensor.dtype, tensor.device) != (torch.Size(shape), X.dtype, X.device):
        raise ValueError(
            f"{name} must have shape {tuple(shape)}, {X.dtype} on {X.device}, got {tuple(tensor.shape)}, "
            f"{tensor.dtype} on {tensor.device}; leave it out, or make it with X.new_empty."
        )
    return tensor


def _count(X):
    return len(X) if X.ndim == 3 else 1


def _strides(X):
    """Return the strides of the batch, the rows and the columns."""
    return X.stride() if X.ndim == 3 else (0, *X.stride())


def _operator(*written):
    """Make a function an operator of torch that writes into those of its arguments.

    `torch.library.custom_op` does the same and more, and takes longer than a launch.
    """

    def register(function):
        name = f"orthobench::{function.__name__}"
        torch.library.define(name, torch.library.infer_schema(function, mutates_args=written))
        torch.library.impl(name, ("cpu", "cuda"), function)
        torch.library.register_fake(name, lambda *arguments: None)
        return getattr(torch.ops.orthobench, function.__name__).default

    return register


@_operator("out", "sums")
def symmetric_product(
    X: torch.Tensor, A: torch.Tensor | None, out: torch.Tensor, sums: torch.Tensor, alpha: float, beta: float
) -> None:
    """Launch `programs.symmetric_product`; without A, nothing is added, and into an empty `sums` nothing is written."""
    from . import programs

    (m, n), count = X.shape[-2:], _count(X)
    blocks = symmetric_blocks(m, count)
    tiles = -(-m // blocks.rows)
    inner = blocks.inner_for(X.dtype)
    given = X if A is None else A
    with torch.cuda.device_of(X):
        programs.symmetric_product[(count * tiles * (tiles + 1) // 2,)](
            X, given, out, sums, m, n, alpha, beta, tiles, *_strides(X), *_strides(given), *_strides(out),
            ADD=A is not None, SUM=sums.numel() > 0, EVEN=n % inner == 0, BLOCK=blocks.rows, INNER=inner,
            num_warps=blocks.warps, num_stages=blocks.stages, enable_fp_fusion=True,
        )  # fmt: skip


@_operator("out")
def product(W: torch.Tensor, X: torch.Tensor, out: torch.Tensor, beta: float) -> None:
    """Launch `programs.add_product`."""
    from . import programs

    (m, n), count = X.shape[-2:], _count(X)
    blocks = product_blocks(m, n, count, X.device)
    rows, columns = -(-m // blocks.rows), -(-n // blocks.columns)
    inner = blocks.inner_for(X.dtype)
    with torch.cuda.device_of(X):
        programs.add_product[(count * rows * columns,)](
            W, X, out, m, n, beta, rows, columns, *_strides(W), *_strides(X), *_strides(out),
            EVEN=m % inner == 0, ROWS=blocks.rows, COLUMNS=blocks.columns, INNER=inner, GROUP=GROUP,
            num_warps=blocks.warps, num_stages=blocks.stages, enable_fp_fusion=True,
        )  # fmt: skip


@_operator("X", "A")
def scale_rows(X: torch.Tensor, A: torch.Tensor, sums: torch.Tensor, divisor: float) -> None:
    """Launch `programs.scale_rows`."""
    from . import programs

    m, n = X.shape[-2:]
    rows = -(-m // SCALING.rows)
    columns = -(-m // SCALING.columns) + -(-n // SCALING.columns)
    with torch.cuda.device_of(X):
        programs.scale_rows[(_count(X) * rows * columns,)](
            X, A, sums, m, n, sums.shape[-2], divisor, *_strides(X), *_strides(A),
            ROWS=SCALING.rows, COLUMNS=SCALING.columns, num_warps=SCALING.warps, enable_fp_fusion=True,
        )  # fmt: skip
