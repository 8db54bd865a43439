"""How each kind of layer passes on bounds: of the norms of activations forwards, and of their gradients backwards.

A rule has two methods. ``outputs(X, norms)`` bounds the norm of the outputs for inputs of norm at most X, where `norms`
holds a bound of the norm of each parameter by name. ``inputs(X, G, norms, found)`` takes a bound G of the gradient of
the outputs, adds bounds of the gradients of the layer's parameters to the dictionary `found`, and returns one of the
gradient of the inputs. All are for one example; sums count a parameter that is used several times.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..lipschitz.bounds import Residual
from ..lipschitz.bounds.jacobian import dtype_and_device, evaluate, evaluating
from ..lipschitz.bounds.pooling import pooling_constant
from ..lipschitz.layers import MaxMin
from ..models.hooks import refuse_hooks
from ..models.lipschitz_networks import FirstChannels, ZeroFeatures, ZeroPadding
from ..models.pixels import PixelShuffle, PixelUnshuffle
from .layers import Centring, ClipInput, L2NormPooling, MeanResidual, NormBoundedBias, RKOConv2d


@dataclass(frozen=True)
class Constant:
    """A layer without parameters, of a Lipschitz constant, that maps 0 to 0; its outputs may be clipped to a norm."""

    constant: float = 1.0
    largest: float = math.inf

    def outputs(self, X, norms):
        return min(self.constant * X, self.largest)

    def inputs(self, X, G, norms, found):
        return self.constant * G


@dataclass(frozen=True)
class Weight:
    """A linear layer whose norm is at most that of its weight as a matrix, in which the gradient is x g^T."""

    name: str
    trained: bool

    def outputs(self, X, norms):
        return norms[self.name] * X

    def inputs(self, X, G, norms, found):
        if self.trained:
            found[self.name] = found.get(self.name, 0.0) + X * G
        return norms[self.name] * G


@dataclass(frozen=True)
class Bias:
    """A vector that is added at each of some places."""

    name: str
    trained: bool
    places: int

    def outputs(self, X, norms):
        return X + math.sqrt(self.places) * norms[self.name]

    def inputs(self, X, G, norms, found):
        if self.trained:
            found[self.name] = found.get(self.name, 0.0) + math.sqrt(self.places) * G
        return G


@dataclass(frozen=True)
class Chain:
    """Layers one after the other."""

    parts: tuple

    def outputs(self, X, norms):
        for part in self.parts:
            X = part.outputs(X, norms)
        return X

    def inputs(self, X, G, norms, found):
        seen = []
        for part in self.parts:
            seen.append(X)
            X = part.outputs(X, norms)
        for part, each in zip(reversed(self.parts), reversed(seen), strict=True):
            G = part.inputs(each, G, norms, found)
        return G


@dataclass(frozen=True)
class Sum:
    """factor (x + f(x))."""

    branch: Chain
    factor: float

    def outputs(self, X, norms):
        return self.factor * (X + self.branch.outputs(X, norms))

    def inputs(self, X, G, norms, found):
        G = self.factor * G
        return G + self.branch.inputs(X, G, norms, found)


def rule_of(model, input_shape=None):
    """Return the rule of a network, a `Chain`, and the norm that each of its parameters is projected to.

    Parameters
    ----------
    model : torch.nn.Module
    input_shape : sequence of int, optional
        Of an example. Some rules need it.

    Returns
    -------
    Chain
    dict of str to float
        By the names of `named_parameters`.

    Raises
    ------
    ValueError
        If a layer has no rule, or a hook; it names the layer. If a rule needs the shape, or the shape doesn't fit.
    """
    refuse_hooks(model)
    walk = _Walk({id(parameter): name for name, parameter in model.named_parameters()})
    rule, _ = walk(model, None if input_shape is None else tuple(input_shape), "")
    return Chain((rule,)), walk.limits


class _Walk:
    """Goes through the modules of a network."""

    def __init__(self, names):
        self.names, self.limits = names, {}

    def __call__(self, module, shape, name):
        """Return the rule of a module and the shape of its outputs."""
        label = f"layer {name!r} ({type(module).__name__})" if name else type(module).__name__
        if parametrize.is_parametrized(module):
            raise ValueError(
                f"{label} has a parametrised weight: the Jacobian of a parametrisation isn't bounded; give a plain "
                "layer, which is projected after each step"
            )
        if _is(module, nn.Sequential):
            parts = []
            for key, child in module._modules.items():  # not named_children, which leaves out a second use
                rule, shape = self(child, shape, f"{name}.{key}" if name else key)
                parts.append(rule)
            return Chain(tuple(parts)), shape
        for kind, factor in ((Residual, 1.0), (MeanResidual, 0.5)):
            if _is(module, kind):
                rule, after = self(module.branch, shape, f"{name}.branch" if name else "branch")
                if after != shape:
                    raise ValueError(f"{label}: the branch must keep the shape {shape}, got {after}")
                return Sum(rule, factor), shape
        for kind, make in _RULES.items():
            if _is(module, kind):
                rule = make(self, module, shape, label)
                return rule, None if shape is None else _outputs(module, shape, label)
        raise ValueError(f"{label} has no rule that bounds its gradients: {_why(module)}")

    def parameter(self, parameter, limit):
        """Note what a parameter is projected to; return its name and whether it is trained."""
        name = self.names[id(parameter)]
        self.limits[name] = min(limit, self.limits.get(name, math.inf))
        return name, parameter.requires_grad


def _is(module, kind):
    return isinstance(module, kind) and type(module).forward is _FORWARDS[kind]


def _outputs(module, shape, label):
    dtype, device = dtype_and_device(module)
    try:
        with evaluating(module):
            return tuple(evaluate(module, torch.zeros(1, *shape, dtype=dtype, device=device)).shape[1:])
    except (ValueError, RuntimeError, IndexError) as error:
        raise ValueError(f"{label} doesn't take examples of shape {shape}: {error}") from error


def _why(module):
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return "it normalises, so that gradients are unbounded, or depend on the batch; use Centring"
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return "it scales its inputs up in training; leave it out"
    if isinstance(module, nn.modules.pooling._LPPoolNd):
        return "its gradient at 0 isn't a number; use L2NormPooling"
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return "use RKOConv2d"
    known = ", ".join(dict.fromkeys(kind.__name__ for kind in _FORWARDS))
    return f"use those of {known}"


# --- kinds -----------------------------------------------------------------------------------------------------------


def _linear(walk, module, shape, label):
    if module.bias is not None:
        raise ValueError(
            f"{label} has a bias, whose norm nothing bounds: give bias=False, and NormBoundedBias after it"
        )
    return Weight(*walk.parameter(module.weight, 1.0))


def _convolution(walk, module, shape, label):
    return Weight(*walk.parameter(module.weight, 1.0))


def _bias(walk, module, shape, label):
    if shape is None:
        raise ValueError(f"{label} adds its bias at each place of a map: give input_shape, that of an example")
    return Bias(*walk.parameter(module.bias, module.norm), math.prod(shape[1:]))


def _pooling(walk, module, shape, label):
    if shape is None:
        raise ValueError(f"{label} has a constant that depends on the size of images: give input_shape")
    return Constant(pooling_constant(module, shape))


def _flatten(walk, module, shape, label):
    if module.start_dim < 1:
        raise ValueError(f"start_dim of {label} is {module.start_dim}: give 1 or more, so that examples stay apart")
    return Constant()


def _one(walk, module, shape, label):
    return Constant()


_RULES = {
    nn.Linear: _linear,
    RKOConv2d: _convolution,
    NormBoundedBias: _bias,
    nn.Flatten: _flatten,
    ClipInput: lambda walk, module, shape, label: Constant(1.0, module.norm),
    **dict.fromkeys((nn.Identity, nn.ReLU, nn.Tanh, MaxMin, Centring, L2NormPooling), _one),
    **dict.fromkeys((nn.PixelUnshuffle, nn.PixelShuffle, PixelUnshuffle, PixelShuffle), _one),
    **dict.fromkeys((ZeroFeatures, ZeroPadding, FirstChannels), _one),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _pooling),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _pooling),
}

# As they were when this was imported.
_FORWARDS = {kind: kind.forward for kind in (nn.Sequential, Residual, MeanResidual, *_RULES)}
