"""What a solver must leave alone: the model's structure and initial weights, the schedule, the seed, the data."""

import torch

from ..status import InvalidResult
from .batches import BatchOrder


def structure(model):
    """Describe a model: its modules with type, mode and method, its parameters and buffers with shape and type."""
    modules = [
        (name, type(module).__qualname__, module.training, "forward" in vars(module))
        for name, module in model.named_modules()
    ]
    tensors = [
        (name, id(tensor) if isinstance(tensor, torch.nn.Parameter) else None, tuple(tensor.shape), tensor.dtype)
        for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    ]
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    return modules, tensors, trained


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
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, before[name]):
            raise InvalidResult(f"the solver changed {name} while it made its optimizers: initial weights are given")


def check_seed(seed):
    """Raise `InvalidResult` if torch's global generator was seeded anew."""
    if torch.initial_seed() != seed:
        raise InvalidResult(f"the solver seeded torch with {torch.initial_seed()}: a repetition's seed is {seed}")


def check_order(order, seed, steps):
    """Raise `InvalidResult` unless an order of batches is where ``steps`` draws from ``seed`` lead."""
    replayed = BatchOrder(order.count, order.batch_size, seed)
    for _ in range(steps):
        replayed.draw()
    expected, found = replayed.state_dict(), order.state_dict()
    if not all(torch.equal(expected[name], found[name]) for name in expected):
        raise InvalidResult("the solver drew from the order of the batches: it belongs to the harness")
