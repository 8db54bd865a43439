"""What a solver must leave alone: the model's structure and initial weights, the schedule, the seed, the data."""

import torch

from ...models.evaluation import weights
from ..status import InvalidResult
from .batches import BatchOrder


def structure(model):
    """Describe a model: its modules with type and settings, its parameters and buffers with shape and type."""
    modules = [(name, type(module), _settings(module), _overridden(module)) for name, module in model.named_modules()]
    tensors = [
        (name, id(tensor) if isinstance(tensor, torch.nn.Parameter) else None, tuple(tensor.shape), tensor.dtype)
        for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    ]
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    return modules, tensors, trained


def _settings(module):
    """Return a module's plain attributes: its mode, the groups of a norm, the stride of a convolution..."""
    return tuple((name, value) for name, value in vars(module).items() if name[0] != "_" and _is_plain(value))


def _is_plain(value):
    return isinstance(value, bool | int | float | str) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _overridden(module):
    """Return the methods that a module has of its own, instead of its type's."""
    return tuple(name for name in vars(module) if callable(getattr(type(module), name, None)))


def check_structure(model, before):
    """Raise `InvalidResult` unless the model is built as ``before``, a result of :func:`structure`, says."""
    for what, was, now in zip(("modules", "parameters", "trained parameters"), before, structure(model), strict=True):
        if was != now:
            changed = sorted({_name(each) for each in set(was) ^ set(now)})
            raise InvalidResult(
                f"the solver changed the model's {what} ({', '.join(changed[:3]) or 'their order'}): the model belongs "
                "to the harness; change it by optimizer steps alone"
            )


def _name(entry):
    return str(entry if isinstance(entry, str) else entry[0]) or "the model itself"


def check_optimizers(optimizers, model):
    """Check that a solver returned optimizers which together train each parameter once.

    Raises
    ------
    InvalidResult
        If they are of another type, or a parameter is in none of them, in two, or not of the model.
    """
    if not isinstance(optimizers, list | tuple) or not optimizers:
        raise InvalidResult(f"`optimizers` returned a {type(optimizers).__name__}: return a list of torch optimizers")
    for each in optimizers:
        if not isinstance(each, torch.optim.Optimizer):
            raise InvalidResult(f"`optimizers` returned a {type(each).__name__} in its list: return torch optimizers")
    names = {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
    seen = set()
    for parameter in (each for one in optimizers for group in one.param_groups for each in group["params"]):
        if parameter not in names:
            raise InvalidResult("an optimizer holds a parameter that the model doesn't train: take them from the model")
        if parameter in seen:
            raise InvalidResult(f"{names[parameter]} is in two optimizers: give each parameter to one of them")
        seen.add(parameter)
    missing = [name for parameter, name in names.items() if parameter not in seen]
    if missing:
        raise InvalidResult(f"{', '.join(missing[:3])} in no optimizer: give each of the model's parameters to one")


def check_unchanged(model, before):
    """Raise `InvalidResult` unless parameters and buffers equal ``before``, a copy of the state dict."""
    for name, tensor in weights(model).items():
        if not torch.equal(tensor, before[name]):
            raise InvalidResult(f"the solver changed {name} while it made its optimizers: initial weights are given")


def check_seed(seed):
    """Raise `InvalidResult` if torch's global generator was seeded anew."""
    if torch.initial_seed() != seed:
        raise InvalidResult(f"the solver seeded torch with {torch.initial_seed()}: a repetition's seed is {seed}")


def draw_global():
    """Return the seed of torch's global generator on the CPU, and a number drawn from it."""
    return torch.initial_seed(), float(torch.rand((), dtype=torch.float64))


def check_draws(draws, seed):
    """Raise `InvalidResult` if results of :func:`draw_global`, one of each step, are of another seed or repeat."""
    others = [each for each, _ in draws if each != seed]
    if others:
        raise InvalidResult(f"the solver seeded torch with {others[0]}: a repetition's seed is {seed}")
    if len({number for _, number in draws}) < len(draws):
        raise InvalidResult("the solver set torch's generator back: its random numbers repeat; leave it to the harness")


def check_order(order, seed, steps, drawn):
    """Raise `InvalidResult` unless an order of batches is where ``steps`` draws from ``seed`` lead, all of ``drawn``.

    Parameters
    ----------
    order : BatchOrder
    seed, steps : int
    drawn : list of int
        Checksum of each batch's indices.
    """
    replayed = BatchOrder(order.count, order.batch_size, seed)
    as_drawn = [replayed.checksum(replayed.draw()) for _ in range(steps)] == drawn
    expected, found = replayed.state_dict(), order.state_dict()
    if not as_drawn or not all(torch.equal(expected[name], found[name]) for name in expected):
        raise InvalidResult("the solver drew from the order of the batches: it belongs to the harness")


def versions(part):
    """Return how often each tensor of a part was written to, as torch counts it: nothing is read of the data."""
    tensors = [value for value in vars(part).values() if isinstance(value, torch.Tensor)]
    return [id(part), *((id(each), each._version) for each in tensors)]


def check_versions(part, before):
    """Raise `InvalidResult` if data were written to, or replaced, since ``before``, a result of :func:`versions`."""
    if versions(part) != before:
        raise InvalidResult("the solver changed the training data: they belong to the harness")


def check_foretold(expected, found, tolerance):
    """Raise `InvalidResult` unless the loss of a step is what was expected, within a share of it and of 1."""
    if not abs(expected - found) <= tolerance * max(1.0, abs(expected)):
        raise InvalidResult(
            f"a step's training loss is {found:.6g}, and {expected:.6g} of a fresh model with the same weights: the "
            "solver changed what the model computes (a hook may look, not alter), the batch or the random numbers"
        )


class Passes:
    """Counts the forward passes of a model within a ``with`` block.

    Parameters
    ----------
    model : torch.nn.Module or None
        None: nothing is counted.
    """

    def __init__(self, model):
        self._model, self._count = model, 0

    def __enter__(self):
        # Only for the time of the block, so that a copy of the model has no such hook.
        self._handle = None if self._model is None else self._model.register_forward_pre_hook(self._add)
        return self

    def __exit__(self, *_):
        if self._handle is not None:
            self._handle.remove()

    def _add(self, module, inputs):
        self._count += 1

    def forget(self):
        """Begin to count anew."""
        self._count = 0

    def check(self, expected):
        """Raise `InvalidResult` unless there were as many passes as expected."""
        if self._model is not None and self._count != expected:
            raise InvalidResult(
                f"{self._count} forward passes where the harness makes {expected}: the solver ran the model; it gets "
                "gradients from the harness alone"
            )
