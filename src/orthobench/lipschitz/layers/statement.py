"""What a layer says about itself."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from .spectra import norm_for_every_size


@torch.no_grad()
def weight_of(layer):
    """Return a layer's weight in evaluation mode; raise ValueError if it isn't finite."""
    was_training = layer.training
    layer.eval()  # in training, reading the weight would change the state of a spectral normalisation
    try:
        weight = layer.weight.detach()
    finally:
        layer.train(was_training)
    check_finite(layer, weight)
    return weight


def check_finite(layer, *tensors):
    """Raise ValueError unless all entries of a layer's tensors are finite."""
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise ValueError(
            f"the weight of {type(layer).__name__} has entries that are not finite, or is zero where the layer divides "
            "by its norm: no constant bounds it, go back to parameters that were finite and not zero"
        )


class OneLipschitz:
    """A layer whose Lipschitz constant is 1, as long as its parameters are finite."""

    joint = True

    @property
    def lipschitz_bound(self):
        """1.0; ValueError if a parameter isn't finite."""
        check_finite(self, *self.parameters())
        return 1.0


def norm_of(layer, weight):
    """Compute the Lipschitz constant of one of torch's layers with a weight, in float64.

    Of a convolution, for images of every size, at most 2 % too large; that of each output if it isn't `joint`.
    """
    weight = weight.double()
    if not layer.joint:
        return float(weight.norm(dim=1).max())
    if isinstance(layer, nn.Linear):
        return float(torch.linalg.matrix_norm(weight, 2))
    return norm_for_every_size(weight, layer.stride[0], layer.dilation[0], layer.groups)


def stated(layer, lipschitz_bound=1.0, joint=True):
    """Note a layer's Lipschitz constant on it; return it.

    Of a parametrised layer it is computed when it is read: rounding the weight to half precision adds to it, and no
    constant bounds a weight that isn't finite.

    Parameters
    ----------
    layer : nn.Module
    lipschitz_bound : float
        Of a weight in float32 or float64.
    joint : bool
        Whether the constant is that of the whole map; otherwise, of each output on its own.
    """
    layer.joint = joint
    if not parametrize.is_parametrized(layer):
        layer.lipschitz_bound = lipschitz_bound
        return layer

    def bound(layer):
        weight = weight_of(layer)
        half = torch.finfo(weight.dtype).bits < 32
        return max(lipschitz_bound, norm_of(layer, weight)) if half else lipschitz_bound

    type(layer).lipschitz_bound = property(bound)  # torch has made the class of a parametrised layer for it alone
    return layer


class StatedSequential(nn.Sequential):
    """Modules in order, of which the others are isometries around one that states its Lipschitz constant."""

    joint = True

    @property
    def lipschitz_bound(self):
        """That of the one."""
        (bound,) = (module.lipschitz_bound for module in self if hasattr(module, "lipschitz_bound"))
        return bound
