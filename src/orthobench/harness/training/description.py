"""What optimizers say of themselves: exponents, and which parameters they train."""

import json
from enum import Enum


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
