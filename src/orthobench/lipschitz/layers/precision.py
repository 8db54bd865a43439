"""What makes a weight is computed in float32 or better, whatever the precision of the products around it."""

import torch
from torch import nn

from ...linalg.scaling import at_least_float32


def full_precision(device):
    """Return a context in which autocast is off on a device: orthogonality doesn't survive products in bfloat16."""
    return torch.autocast(device.type, enabled=False)


def positive(logarithms):
    """Return e^l for free parameters l, clipped to [-40, 40]: so the square is within float32."""
    return logarithms.clamp(-40, 40).exp()


class FullPrecision(nn.Module):
    """A parametrisation that is computed in float32 or better, then rounded to the type of what it is given.

    Its buffers, the state of an iteration, stay in float32 where the layer is cast to half precision.
    """

    def __init__(self, parametrisation):
        super().__init__()
        self.parametrisation = parametrisation

    def forward(self, original):
        with full_precision(original.device):
            return self.parametrisation(original.to(at_least_float32(original.dtype))).to(original.dtype)

    def _apply(self, fn, recurse=True):
        def applied(tensor):
            result = fn(tensor)
            in_half = result.is_floating_point() and torch.finfo(result.dtype).bits < 32
            return result if isinstance(tensor, nn.Parameter) or not in_half else tensor.to(result.device)

        return super()._apply(applied, recurse)


def in_full_precision(layer):
    """Wrap each parametrisation of a layer, in place, in `FullPrecision`; return the layer."""
    for chain in layer.parametrizations.values():
        for i, parametrisation in enumerate(chain):
            chain[i] = FullPrecision(parametrisation)
    return layer
