"""How much memory the states of optimizers take, wherever they keep their tensors."""

from collections import deque
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import torch

_OPAQUE = (str, bytes, int, float, complex, type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)

# Attributes of every optimizer that hold settings and hooks.
_TORCHS = vars(torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))])).keys()


def state_bytes(optimizers, others=()):
    """Return the bytes of all tensors that optimizers keep, in their states or in attributes of their own.

    Looked for in lists, tuples, sets, dicts and the attributes of objects too. Memory that tensors share counts once,
    and that of parameters and of their gradients not at all.

    Parameters
    ----------
    optimizers : list of torch.optim.Optimizer
    others : sequence, optional
        Objects that they may hold and that are not theirs, such as the model: none of their tensors counts.

    Returns
    -------
    int
    """
    parameters = [each for optimizer in optimizers for group in optimizer.param_groups for each in group["params"]]
    others = [*parameters, *(each.grad for each in parameters), *others]
    kept = [value for optimizer in optimizers for name, value in vars(optimizer).items() if name not in _TORCHS]
    storages = _storages([*kept, *(state for optimizer in optimizers for state in optimizer.state.values())])
    own = storages.keys() - _storages(others).keys()
    return sum(storages[key] for key in own)


def _storages(values):
    """Return the bytes of the storages of all tensors that values hold, by device and address."""
    storages, seen, waiting = {}, set(), [values]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, _OPAQUE):
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            storages[storage.device, storage.data_ptr()] = storage.nbytes()
        else:
            waiting.extend(_contents(value))
    return storages


def _contents(value):
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name) for name in slots if hasattr(value, name))]
