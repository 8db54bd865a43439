"""How much memory the states of optimizers take, wherever they keep their tensors."""

from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import torch

_OPAQUE = (str, bytes, int, float, complex, type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)


def state_bytes(optimizers):
    """Return the bytes of all tensors in the optimizers' states.

    Looked for in lists, tuples, sets, dicts and the attributes of objects too. Memory that tensors share counts once,
    and that of the parameters not at all.

    Parameters
    ----------
    optimizers : list of torch.optim.Optimizer

    Returns
    -------
    int
    """
    parameters = [each for optimizer in optimizers for group in optimizer.param_groups for each in group["params"]]
    storages = _storages([state for optimizer in optimizers for state in optimizer.state.values()])
    own = storages.keys() - _storages(parameters).keys()
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
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name) for name in slots if hasattr(value, name))]
