"""What a package exports, each module imported when a name of it is asked for.

A solver's process needs few of the harness's modules, and no Benchopt: less memory is copied at each start of one.
"""

import importlib
import sys


def export(package, names):
    """Have a package give names of its modules.

    Parameters
    ----------
    package : str
    names : dict of str to list of str
        By module, as ``from .module import`` has it, what it exports.

    Returns
    -------
    tuple of (list of str, callable)
        The package's ``__all__`` and ``__getattr__``.
    """
    module_of = {name: module for module, exported in names.items() for name in exported}

    def find(name):
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{module_of[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return sorted(module_of), find
