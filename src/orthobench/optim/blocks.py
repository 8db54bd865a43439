"""The matrices that a parameter holds: itself, the parts of a fused one, or a stack; and sharded ones, whole."""

from numbers import Integral

import torch

STACKED = "stacked"
_PLAIN = (torch.Tensor, torch.nn.Parameter)


def divide(tensors, group):
    """Return views of what the matrices of parameters, or of what has their shapes, are made of; rows come first."""
    if group["split"] is None and not group["transposed"]:
        return tensors
    return [
        piece for tensor in tensors for piece in _divide(tensor.mT if group["transposed"] else tensor, group["split"])
    ]


def _divide(tensor, split):
    if split is None:
        return [tensor]
    if split == STACKED:
        return list(tensor.unbind())
    return list(tensor.split(len(tensor) // split if isinstance(split, Integral) else list(split)))


def count_matrices(p, group):
    """Return how many matrices a parameter holds."""
    split = group["split"]
    if split is None:
        return 1
    if split == STACKED:
        return len(p)
    return int(split) if isinstance(split, Integral) else len(split)


def check_split(split):
    """Return it, in Python's numbers; raise ValueError unless None, "stacked", a number of parts or their sizes."""
    if split is None or (isinstance(split, str) and split == STACKED):
        return split
    try:
        sizes = (split,) if isinstance(split, Integral) else tuple(split)
        fits = bool(sizes) and all(isinstance(n, Integral) and not isinstance(n, bool) and n >= 1 for n in sizes)
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(
            f"split must be None, {STACKED!r}, a number of equal parts or the numbers of rows of each, got {split!r}; "
            "None is one matrix."
        )
    return int(split) if isinstance(split, Integral) else tuple(map(int, sizes))


def check_division(shape, split, transposed, which):
    """Raise ValueError unless a parameter of that shape, called `which`, can be divided so."""
    shape = tuple(shape)
    if transposed and len(shape) != (3 if split == STACKED else 2):
        raise ValueError(
            f"{which} has shape {shape}; transposed=True takes matrices, of 2 dimensions, or stacks of them."
        )
    if split == STACKED:
        if len(shape) < 3:
            raise ValueError(
                f"{which} has shape {shape}; split={STACKED!r} takes 3 or more dimensions, the first for the stack."
            )
        return
    rows = shape[1] if transposed else shape[0]
    if isinstance(split, Integral) and rows % split:
        raise ValueError(f"{which} has {rows} rows, which split={split} doesn't divide; give the rows of each part.")
    if split is not None and not isinstance(split, Integral) and sum(split) != rows:
        raise ValueError(f"{which} has {rows} rows, but split={tuple(split)} sums to {sum(split)}.")


def whole(tensor):
    """Gather a tensor that is sharded over processes (a DTensor, as FSDP2 makes them); others as they are."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def is_sharded(tensor):
    """Whether it is a DTensor; without importing what defines these, which takes its time."""
    return type(tensor) not in _PLAIN and hasattr(tensor, "full_tensor")


def shard_like(tensor, sharded):
    """Return this process's part of a tensor that all have, sharded as another one is; nothing is sent."""
    from torch.distributed.tensor import DTensor, Replicate

    mesh = sharded.device_mesh
    replicated = DTensor.from_local(tensor, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return replicated.redistribute(mesh, sharded.placements)
