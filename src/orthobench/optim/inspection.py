"""What optimizers are doing: the memory of their states, which parameters they train, and with which exponents."""

import json
from collections import deque
from enum import Enum
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


def exponents(optimizers):
    """Return the exponent of each parameter, as JSON, where optimizers have such (`SchattenMuon`); else nothing."""
    found = {}
    for optimizer in optimizers:
        if hasattr(optimizer, "exponents"):
            found |= {str(name): round(exponent, 4) for name, exponent in optimizer.exponents().items()}
    return json.dumps(found) if found else ""


def parameters_by_optimizer(optimizers):
    """Return how many parameters each kind of optimizer trains.

    By the name of its class, and by what its groups have different names for (such as the norms of SCION).
    """
    counts = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            name = type(optimizer).__name__ + _kind(group, optimizer.param_groups)
            counts[name] = counts.get(name, 0) + sum(parameter.numel() for parameter in group["params"])
    return counts


def _kind(group, groups):
    named = [value for name, value in group.items() if isinstance(value, str | Enum) and _differs(name, groups)]
    return f" ({', '.join(str(getattr(value, 'name', value)).lower() for value in named)})" if named else ""


def _differs(name, groups):
    return any(group.get(name) != groups[0].get(name) for group in groups)
