"""Outputs, loss and accuracy of a model, without a trace left on the model or on random numbers."""

import contextlib

import torch
from torch import nn
from torch.nn.modules.module import _EXTRA_STATE_KEY_SUFFIX as EXTRA

# A processor's cache holds what so many give on their way; a GPU wants more to do at a time.
EXAMPLES_AT_ONCE = {"cpu": 128, "cuda": 1024}


@contextlib.contextmanager
def evaluation_mode(model):
    """Put the model in evaluation mode, without gradients; each module's own mode is put back after."""
    modes = [(module, module.training) for module in model.modules()]
    devices = sorted({each.device for each in model.parameters() if each.device.type == "cuda"}, key=str)
    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def weights(model):
    """Return what a model's ``state_dict()`` does, past all hooks: parameters, kept buffers, extra state."""
    found = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        kept = {name: each for name, each in module._buffers.items() if name not in module._non_persistent_buffers_set}
        kind = type(module)
        extra = {} if kind.get_extra_state is nn.Module.get_extra_state else {EXTRA: kind.get_extra_state(module)}
        for name, tensor in (module._parameters | kept | extra).items():
            if tensor is not None:
                found[f"{prefix}.{name}" if prefix else name] = tensor.detach()
    return found


def rebuild(make_model, seed, state, device):
    """Make a fresh model with the weights and buffers of a trained one.

    Nothing else that was done to that one comes along: no hook, no other method or attribute, no mode.

    Parameters
    ----------
    make_model : callable
        Takes a seed, returns a model like the trained one.
    seed : int
    state : dict of str to torch.Tensor
        The trained one's ``state_dict()``.
    device : torch.device

    Returns
    -------
    torch.nn.Module
        On ``device``, in training mode.
    """
    fresh = make_model(seed).to(device)
    fresh.load_state_dict(state)
    return fresh.train()


def outputs_of(model, inputs, device, examples_at_once=None):
    """Return the outputs of a model for inputs (n, ...), in its own dtype.

    Parameters
    ----------
    model : torch.nn.Module
        On ``device``.
    inputs : torch.Tensor
        (n, ...), on any device.
    device : torch.device
    examples_at_once : int, optional
        By default, as many as `EXAMPLES_AT_ONCE` has for the device.

    Returns
    -------
    torch.Tensor
        (n, ...), on ``device``.
    """
    dtype = next(model.parameters(), inputs).dtype
    with evaluation_mode(model):
        parts = inputs.split(examples_at_once or EXAMPLES_AT_ONCE[device.type])
        return torch.cat([model(some.to(device, dtype)) for some in parts])


def evaluate_model(model, part, loss, device, examples_at_once=None):
    """Compute the mean loss of a model and the share of targets that its largest output names.

    Parameters
    ----------
    model : torch.nn.Module
        Maps inputs to logits (..., classes).
    part : Examples or Windows
    loss : callable
        Of outputs and targets; a mean over the targets.
    device : torch.device
        Of the model.
    examples_at_once : int, optional
        By default, as many as `EXAMPLES_AT_ONCE` has for the device.

    Returns
    -------
    tuple of (float, float)
        Loss, summed over batches in float64, and accuracy in [0, 1].
    """
    total = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    count = 0
    with evaluation_mode(model):
        for indices in torch.arange(len(part)).split(examples_at_once or EXAMPLES_AT_ONCE[device.type]):
            inputs, targets = (each.to(device) for each in part[indices])
            outputs = model(inputs).float()
            total += loss(outputs, targets).double() * targets.numel()
            correct += (outputs.argmax(-1) == targets).sum()
            count += targets.numel()
    return float(total) / count, float(correct) / count
