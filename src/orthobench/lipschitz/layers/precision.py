"""What makes a weight is computed in float32 or better, whatever the precision of the products around it."""

import torch
from torch import nn

from ...linalg.scaling import at_least_float32


def full_precision(device):
    """Return a context in which autocast is off on a device: orthogonality doesn't survive products in bfloat16."""
    return torch.autocast(device.type, enabled=False)


class FullPrecision(nn.Module):
    """A parametrisation that is computed in float32 or better, then rounded to the type of what it is given."""

    def __init__(self, parametrisation):
        super().__init__()
        self.parametrisation = parametrisation

    def forward(self, original):
        with full_precision(original.device):
            return self.parametrisation(original.to(at_least_float32(original.dtype))).to(original.dtype)


def in_full_precision(layer):
    """Wrap each parametrisation of a layer, in place, in `FullPrecision`; return the layer."""
    for chain in layer.parametrizations.values():
        for i, parametrisation in enumerate(chain):
            chain[i] = FullPrecision(parametrisation)
    return layer
