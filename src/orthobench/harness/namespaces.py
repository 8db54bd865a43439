"""Classes and modules that all solvers of a process share: who replaces a function in one reaches the others."""

import sys
import time
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional

_DESCRIPTORS = (staticmethod, classmethod, property)

# From each class or module that is watched to its functions when that began.
_watched, _sizes = {}, {}


def watch(namespaces):
    """Note the functions of classes and modules, the first time each is given."""
    for each in namespaces:
        if each not in _watched:
            _watched[each], _sizes[each] = _functions(each), len(vars(each))


def watch_networks():
    """Watch every kind of network that there is so far."""
    kinds = [nn.Module]
    for kind in kinds:  # the list grows
        kinds += [each for each in kind.__subclasses__() if each not in _watched]
    watch(kinds)


def watch_shared():
    """Watch what harness and solver share in one process: the clock, torch's networks and functions, our package."""
    watch_networks()
    watch([time, torch.linalg, functional])
    for module in [each for name, each in sys.modules.items() if name.partition(".")[0] == "orthobench"]:
        own = [each for each in vars(module).values() if getattr(each, "__module__", None) == module.__name__]
        # Torch itself wraps the step of an optimizer's class when it makes the first.
        watch(
            [module, *(each for each in own if isinstance(each, type) and not issubclass(each, torch.optim.Optimizer))]
        )


def replaced():
    """Return what has been replaced or added since it is watched, as a list of names such as ``ConvNet.forward``."""
    found = []
    for namespace, functions in _watched.items():
        now = vars(namespace)
        names = [name for name, function in functions.items() if now.get(name) is not function]
        # A module gets new names as others are imported into it; a method of a class may hide that of its base.
        if not isinstance(namespace, ModuleType) and len(now) != _sizes[namespace]:
            names += [name for name in _functions(namespace) if name not in functions]
        found += [f"{namespace.__name__}.{name}" for name in names]
    return found


def _functions(namespace):
    return {name: each for name, each in vars(namespace).items() if callable(each) or isinstance(each, _DESCRIPTORS)}
