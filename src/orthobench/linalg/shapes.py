"""What the functions of this package accept, and how they go through it: one product for all matrices of a shape."""

import torch

from .precision import without_autocast

DTYPES = (torch.float32, torch.bfloat16, torch.float64)


def check_matrices(matrices, name="matrices"):
    """Raise unless `matrices` is a tensor (..., m, n) of one of `DTYPES`."""
    if not isinstance(matrices, torch.Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor (or the argument a list or tuple of them), "
            f"got {type(matrices).__name__}; convert it with torch.as_tensor."
        )
    if matrices.ndim < 2:
        raise ValueError(
            f"{name} must have at least 2 dimensions (..., m, n), got shape {tuple(matrices.shape)}; "
            "reshape a vector to (1, n) or (n, 1)."
        )
    if matrices.dtype not in DTYPES:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise TypeError(f"{name} must have dtype {allowed}, got {matrices.dtype}; convert it with .to(torch.float32).")


def map_by_shape(function, matrices):
    """Apply `function` to one tensor, or to a list of tensors with one call for each (m, n), dtype and device.

    Parameters
    ----------
    function : callable
        Takes a tensor (m, n) or (batch, m, n) with m <= n, none of these 0, and returns a new tensor of the same
        shape and dtype. It must not write into its argument, which may be the user's memory.
    matrices : Tensor (..., m, n), or list or tuple of such tensors
        Tall matrices are handed to `function` transposed, and its result is transposed back.

    Returns
    -------
    Tensor, or list of Tensor in the order of `matrices`
        Same shapes, dtypes and devices. No gradient is recorded. The tensors of a list may share one storage, without
        overlap.
    """
    if not isinstance(matrices, (list, tuple)):
        check_matrices(matrices)
        return _apply(function, matrices)

    groups = {}
    for i, tensor in enumerate(matrices):
        check_matrices(tensor, name=f"matrices[{i}]")
        groups.setdefault((tensor.shape[-2:], tensor.dtype, tensor.device), []).append(i)

    results = [None] * len(matrices)
    for indices in groups.values():
        if len(indices) == 1:
            results[indices[0]] = _apply(function, matrices[indices[0]])
            continue
        stacks = [_flatten_batch(matrices[i]) for i in indices]
        sizes = [len(stack) for stack in stacks]
        pieces = _apply(function, torch.cat(stacks)).split(sizes)
        for i, piece in zip(indices, pieces, strict=True):
            results[i] = piece.reshape(matrices[i].shape)
    return results


def _flatten_batch(tensor):
    """View (m, n) as (1, m, n), and (..., m, n) as (batch, m, n)."""
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor.flatten(0, -3)


def _apply(function, tensor):
    if tensor.numel() == 0:
        return torch.empty_like(tensor)
    X = tensor if tensor.ndim == 2 else _flatten_batch(tensor)
    is_tall = X.shape[-2] > X.shape[-1]
    # Without this, autocast would do float32 products in bfloat16.
    with torch.no_grad(), without_autocast(tensor.device.type):
        result = function(X.mT if is_tall else X)
    return (result.mT if is_tall else result).reshape(tensor.shape)
