"""Networks for inference: parametrised weights become the plain weights of torch's layers."""

import copy

import torch
from torch import nn
from torch.nn.utils import skip_init

from .same import with_size_check
from .statement import stated

_OPTIONS = {
    nn.Linear: ("in_features", "out_features"),
    nn.Conv2d: (
        "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"
    ),
    nn.ConvTranspose2d: (
        "in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "dilation", "groups"
    ),
}  # fmt: skip


def export_plain(model):
    """Copy a network, with plain weights wherever a layer is a matrix or a convolution.

    Each module that computes what `torch.nn.Linear`, `torch.nn.Conv2d` or `torch.nn.ConvTranspose2d` does, with
    whatever parametrisation of its weight, is replaced by that one. Other modules, which work in the Fourier domain or
    are no linear maps, are copied as they are: run them under ``torch.nn.utils.parametrize.cached()``.

    Parameters
    ----------
    model : nn.Module
        Not modified.

    Returns
    -------
    nn.Module
        In evaluation mode, of the same device and dtype; with equal outputs, and no state of the parametrisations. The
        layers still have their `lipschitz_bound`, as a number: export again for another dtype.
    """
    return _replace(copy.deepcopy(model).eval(), {})


def _replace(module, done):
    """Return the plain form of a module; one that is used twice is replaced by one."""
    if id(module) not in done:
        plain = _plain_layer(module)
        done[id(module)] = (plain, module)  # the module too: while it lives, its id is not given to another
        if plain is module:
            for name, child in module._modules.items():  # unlike named_children, twice if it is used twice
                if child is not None:
                    setattr(module, name, _replace(child, done))
    return done[id(module)][0]


@torch.no_grad()
def _plain_layer(module):
    """Return torch's layer with the weights of a module, or the module if it isn't one of them."""
    for base, names in _OPTIONS.items():
        if isinstance(module, base) and type(module).forward is base.forward and type(module) is not base:
            options = {name: getattr(module, name) for name in names}
            weight = module.weight
            layer = skip_init(base, **options, bias=module.bias is not None, device=weight.device, dtype=weight.dtype)
            layer.weight.copy_(weight)
            if module.bias is not None:
                layer.bias.copy_(module.bias)
            if hasattr(module, "lipschitz_bound"):
                stated(layer, module.lipschitz_bound, module.joint)
            return with_size_check(layer.eval()) if base is nn.Conv2d else layer.eval()
    return module
