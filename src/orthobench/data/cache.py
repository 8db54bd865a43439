"""On-disk cache of expensive references, such as recorded momenta: joblib's store, keyed by content."""

import functools
import hashlib
import inspect
import os
import platform
import warnings
from pathlib import Path

import joblib
import torch

LOCATION_VARIABLE = "ORTHOBENCH_CACHE"
DEFAULT_LOCATION = "~/.cache/orthobench"
_PACKAGE = Path(__file__).parents[1]


def cached(function):
    """Keep the results of a function on disk, in $ORTHOBENCH_CACHE or else in ~/.cache/orthobench.

    A result is found again by its content: the function's name and arguments, the versions of torch and Python, the
    sources of `orthobench.data` and `orthobench.models`, and the file that defines the function. Entries are written
    in one move, so several processes may share a cache. A damaged entry is computed again, with a warning. Where
    nothing can be written, the function still works, without cache and with a warning.

    Entries are pickles, and unpickling can run any code: the folder must be one that only those whom you trust can
    write to. Never point $ORTHOBENCH_CACHE to a folder that was downloaded, or that others share.

    The store is that of `joblib.Memory`. Its decorator is not used: it hashes a tensor by its address, erases the
    entries of other versions, and fails on some damaged files.

    Parameters
    ----------
    function : callable
        Defined in a module; its arguments and result can be pickled. It must depend on its arguments alone.

    Returns
    -------
    callable
        The same function, cached; the original is its `__wrapped__`.
    """
    name = f"{function.__module__}.{function.__name__}"
    signature = inspect.signature(function)
    # Taken when the code is loaded: what is edited later is not what runs.
    versions = torch.__version__, platform.python_version(), _source_digest(function), function.__qualname__

    @functools.wraps(function)
    def from_cache(*args, **kwargs):
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        store = _open_store()
        if store is None:
            return function(*args, **kwargs)
        entry = name, joblib.hash((versions, _by_content(arguments.arguments)))
        if store.contains_item(entry):
            try:
                return store.load_item(entry, verbose=0)
            except Exception as error:  # a damaged pickle may raise anything
                damaged = Path(store.location, *entry)
                warnings.warn(f"computing {name} again: {damaged} is damaged ({error!r})", stacklevel=2)
        result = function(*args, **kwargs)
        _save(store, entry, result)
        return result

    return from_cache


def cache_folder():
    """Return the folder of the cache, not necessarily existing."""
    return os.path.expanduser(_location())


def _location():
    return os.environ.get(LOCATION_VARIABLE) or DEFAULT_LOCATION


def _open_store():
    try:
        # Compression is for its checksum, which finds damage that unpickling would not.
        return joblib.Memory(cache_folder(), verbose=0, compress=1).store_backend
    except OSError as error:
        _warn_unwritable(error)
        return None


def _save(store, entry, result):
    with warnings.catch_warnings(record=True) as failures:
        warnings.simplefilter("always")
        store.dump_item(entry, result, verbose=0)
    if failures:
        _warn_unwritable(failures[-1].message)


def _warn_unwritable(reason):
    remedy = f"set {LOCATION_VARIABLE} to a folder that can be written to"
    warnings.warn(f"not cached: cannot write to {_location()} ({reason}); {remedy}", stacklevel=4)


def _by_content(value):
    """Replace tensors, which joblib would hash by address, by their bytes."""
    if isinstance(value, torch.Tensor):
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return "tensor", str(value.dtype), tuple(value.shape), content
    if isinstance(value, dict):
        return {key: _by_content(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [_by_content(item) for item in value]
    return value


def _source_digest(function):
    sources = sorted(path for package in ("data", "models") for path in (_PACKAGE / package).rglob("*.py"))
    own = inspect.getsourcefile(function)
    digest = hashlib.sha256()
    for path in [*sources, Path(own)] if own else sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()
