"""What depends on the weights and on the size of the input is computed once under ``parametrize.cached()``."""

from torch.nn.utils import parametrize


def remember(module, name, compute):
    """Return ``compute()``, or what it returned before in the same ``torch.nn.utils.parametrize.cached()`` context.

    torch caches the weights that depend on nothing but parameters; an operator in the Fourier domain depends on the
    size of the input too. The result is kept in torch's own cache, and so lives exactly as long as the weights do
    there. Should a version of torch have no such cache, it is computed every time.

    Parameters
    ----------
    module : nn.Module
        Whose result it is.
    name : hashable
        Which of its results, input size included.
    compute : callable
        Takes no argument.
    """
    cache = getattr(parametrize, "_cache", None)
    if cache is None or not getattr(parametrize, "_cache_enabled", 0):
        return compute()
    key = (id(module), name)
    if key not in cache:
        cache[key] = (module, compute())  # the module too: while it lives, its id is not given to another
    return cache[key][1]
