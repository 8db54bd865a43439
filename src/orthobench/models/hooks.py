"""Code that takes part in the passes of a network besides that of its layers: hooks, and forward methods replaced.

Bounds and clipping of gradients are derived from the layers. A hook can do anything to outputs and gradients, or keep
what it sees of examples, and whether it does can't be seen from outside, so that it is refused, by name. Those of this
package's layers keep the bounds.
"""

import functools

from torch.nn.modules import module as torch_modules

_OF_MODULES = {
    "_forward_pre_hooks": "a forward pre-hook",
    "_forward_hooks": "a forward hook",
    "_backward_pre_hooks": "a backward pre-hook",
    "_backward_hooks": "a backward hook",
}
_OF_PARAMETERS = {
    "_backward_hooks": "a hook on the gradient of",
    "_post_accumulate_grad_hooks": "a hook after the gradient of",
}
# Where hooks are defined that may stay. Not in `orthobench.optim`: those take statistics of examples to an optimizer.
_OWN = ("orthobench.lipschitz.", "orthobench.privacy.")

# What torch calls of a module, and finds in the module itself before its class.
REPLACED = ("forward", "_call_impl", "_slow_forward")


def hooks_of(module):
    """Return what takes part in the passes of a module itself, its parts not included.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    list of tuple of (str, callable)
        What it is, and the function: hooks on the module and on its parameters; methods that were replaced.
    """
    state, found = vars(module), []
    for attribute, kind in _OF_MODULES.items():
        if state.get(attribute):
            found += [(kind, hook) for hook in state[attribute].values()]
    for name, parameter in state["_parameters"].items():
        for attribute, kind in _OF_PARAMETERS.items():
            if parameter is not None and getattr(parameter, attribute):
                found += [(f"{kind} {name!r}", hook) for hook in getattr(parameter, attribute).values()]
    return found + [(f"a {name} of its own", state[name]) for name in REPLACED if name in state]


def hooks_of_all():
    """Return the hooks that torch calls for every module, as `hooks_of` does."""
    return [
        (kind, hook)
        for attribute, kind in _OF_MODULES.items()
        for hook in getattr(torch_modules, f"_global{attribute}").values()
    ]


def foreign(hooks):
    """Return those of some hooks, as `hooks_of` has them, that aren't of this package's layers."""
    return [(kind, hook) for kind, hook in hooks if not is_own(hook)]


def is_own(hook):
    """Tell whether a hook is one of this package's layers, which keep what is known of them."""
    return _module_of(hook).startswith(_OWN)


def refuse_hooks(model):
    """Raise ValueError if a hook, or a forward method that was replaced, takes part in the passes of a network.

    Those of this package's layers may stay.

    Raises
    ------
    ValueError
        It names the layer, the kind and the function.
    """
    for where, hooks in _everywhere(model):
        for kind, hook in foreign(hooks):
            raise ValueError(
                f"{where} has {kind}, {_name(hook)}: what it does with examples and gradients has no bound; remove it "
                "(the handle of a hook has `remove()`)"
            )


class Structure:
    """What a network was made of, to be compared with what it is: layers, their settings and parameters, hooks.

    Values of parameters and buffers, modes, new attributes and hooks of this package's layers don't count.

    Parameters
    ----------
    model : torch.nn.Module
        As it is now, hooks included.
    """

    def __init__(self, model):
        self._layers = [(label(name, each), each, *_parts(each)) for name, each in model.named_modules()]
        self._of_all = foreign(hooks_of_all())

    def check(self):
        """Raise ValueError if the network isn't what it was.

        Raises
        ------
        ValueError
            It names the layer and what has changed.
        """
        _compare_hooks("every module", self._of_all, hooks_of_all())
        for label, module, kind, forward, settings, members, hooks in self._layers:
            state = vars(module)
            _compare_hooks(label, hooks, hooks_of(module))
            if type(module) is not kind or kind.forward is not forward:
                raise ValueError(f"{label} was a {kind.__name__}, and computes something else now: {_REMEDY}")
            for name, value in settings.items():
                found = state.get(name)
                if found is not value and found != value:
                    raise ValueError(f"{name} of {label} was {value!r}, and is {found!r} now: {_REMEDY}")
            found = _members(state)
            if len(found) != len(members) or any(a is not b for a, b in zip(found, members, strict=True)):
                raise ValueError(f"{label} has other parameters or layers than before: {_REMEDY}")


_REMEDY = "make a new optimizer for the network as it is"


def _parts(module):
    """Return class, forward method, settings, members and hooks of a module."""
    state, kind = vars(module), type(module)
    plain = (bool, int, float, str, tuple, type(None))
    settings = {
        name: value
        for name, value in state.items()
        if isinstance(value, plain) and not name.startswith("_") and name != "training"
    }
    return kind, kind.forward, settings, _members(state), foreign(hooks_of(module))


def _members(state):
    return [*state["_parameters"].values(), *state["_modules"].values()]


def _compare_hooks(where, before, now):
    if not before and not now:
        return
    now = foreign(now)
    for kind, hook in now:
        if (kind, hook) not in before:
            raise ValueError(f"{where} has {kind}, {_name(hook)}, that it hadn't before: remove it")
    for kind, hook in before:
        if (kind, hook) not in now:
            raise ValueError(f"{where} has lost {kind}, {_name(hook)}: {_REMEDY}")


def _everywhere(model):
    yield "every module", hooks_of_all()
    for name, module in model.named_modules():
        yield label(name, module), hooks_of(module)


def label(name, module):
    """Return what a message calls a layer of a model, whose own name is empty."""
    return f"layer {name!r} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"


def _plain(hook):
    while isinstance(hook, functools.partial):
        hook = hook.func
    return hook


def _module_of(hook):
    return getattr(_plain(hook), "__module__", None) or ""


def _name(hook):
    hook = _plain(hook)
    return f"{getattr(hook, '__qualname__', type(hook).__qualname__)} of {_module_of(hook)}"
