"""What a solver returns is looked at before any metric is computed."""

import torch

from .status import Diverged, InvalidResult


def check_tensors(outputs, shapes, dtype, device):
    """Check a list of tensors that a solver returned.

    Parameters
    ----------
    outputs : list or tuple of torch.Tensor
    shapes : sequence of torch.Size
        Expected shapes, in order.
    dtype : torch.dtype
    device : torch.device

    Raises
    ------
    InvalidResult
        If the type, the number, a shape, a dtype or a device is wrong.
    Diverged
        If an entry isn't finite.
    """
    if not isinstance(outputs, list | tuple):
        raise InvalidResult(f"expected a list of {len(shapes)} tensors, got a {type(outputs).__name__}")
    if len(outputs) != len(shapes):
        raise InvalidResult(f"expected {len(shapes)} tensors, got {len(outputs)}")
    for index, (output, shape) in enumerate(zip(outputs, shapes, strict=True)):
        if not isinstance(output, torch.Tensor):
            raise InvalidResult(f"result {index} is a {type(output).__name__}, expected a tensor")
        for what, got, expected in (
            ("shape", tuple(output.shape), tuple(shape)),
            ("dtype", output.dtype, dtype),
            ("device", output.device, device),
        ):
            if got != expected:
                raise InvalidResult(f"result {index} has {what} {got}, expected {expected}")
        if not torch.isfinite(output).all():
            count = int((~torch.isfinite(output)).sum())
            raise Diverged(f"result {index} holds NaN or infinity in {count} of {output.numel()} entries")


def check_outputs(outputs, count):
    """Return the outputs of a network for ``count`` inputs.

    Raises
    ------
    InvalidResult
        If there is not one row of them for each input.
    Diverged
        If an entry isn't finite.
    """
    if outputs.ndim != 2 or len(outputs) != count:
        raise InvalidResult(f"the model maps {count} inputs to a tensor {tuple(outputs.shape)}: expected rows")
    wrong = int((~outputs.isfinite()).any(1).sum())
    if wrong:
        raise Diverged(f"the model's outputs hold NaN or infinity for {wrong} of {count} inputs: lower its rate")
    return outputs


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
