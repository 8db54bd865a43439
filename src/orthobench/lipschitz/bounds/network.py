"""An upper bound of a network's Lipschitz constant: the product of those of its layers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from ...models.hooks import REPLACED, hooks_of_all, is_own
from ...models.lipschitz_unet import SkipConnection
from .jacobian import dtype_and_device, evaluate, evaluating
from .linear import linear_upper_bound
from .pooling import POOLINGS, pooling_constant


@dataclass(frozen=True)
class NetworkBound:
    """A bound from above of a network's Lipschitz constant, and the factors that it is the product of.

    Attributes
    ----------
    total : float
    layers : list of (str, float)
        Name of each layer, in order, as `torch.nn.Module.named_modules` has it, with its own bound. A residual
        container is one layer.
    """

    total: float
    layers: list


class Residual(nn.Module):
    """x + f(x), for a module f that keeps the shape of its input. Its Lipschitz constant is at most 1 + that of f.

    Parameters
    ----------
    branch : torch.nn.Module
        f.
    """

    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, inputs):
        outputs = self.branch(inputs)
        if outputs.shape != inputs.shape:
            raise ValueError(
                f"the branch of Residual must keep the shape {tuple(inputs.shape)}, got {tuple(outputs.shape)}; "
                "a broadcast sum has another constant."
            )
        return inputs + outputs


def upper_bound(model, input_shape, exact_up_to=1024, *, per_output=False, trusted=None):
    """Bound a network's Lipschitz constant from above, for the Euclidean norm and all inputs, in eval mode.

    Parameters
    ----------
    model : torch.nn.Module
        Made of nn.Sequential, `Residual` and layers, see Notes. Its modes are restored. A module of your own, whose
        forward pass may be anything, is one of these layers by a method ``certified_bound(input_shape)``: it returns a
        float, a bound for all inputs (b, \\*input_shape) in eval mode, and may be this function's of its parts.
    input_shape : sequence of int
        Without the batch axis. Further shapes are those of a forward pass, layer by layer.
    exact_up_to : int
        As in `linear_upper_bound`, for each layer.
    per_output : bool
        Bound the constant of each output on its own, and return the largest: if the last layer is affine, the largest
        norm of its rows takes the place of its spectral norm.
    trusted : sequence of str, optional
        Packages whose classes' ``certified_bound`` is taken; that of others counts for nothing. By default all are.

    Returns
    -------
    NetworkBound

    Raises
    ------
    ValueError
        If a module is none of those below; it names the module. If an input doesn't fit, or weights aren't finite.

    Notes
    -----
    Rules, the first that fits a module:

    - it has a method ``certified_bound(input_shape)``: what that returns, unless ``trusted`` leaves it out, or the
      module has hooks;
    - nn.Sequential: the product of its modules, in order;
    - `Residual`: 1 + that of its branch; `SkipConnection` and Orthogonium's residual containers by their own formulas;
    - activations: 1 for ReLU, ReLU6, Hardtanh, Tanh, Softsign, LogSigmoid, CELU (alpha > 0), Identity, dropout, MaxMin
      (of an even number of channels) and Orthogonium's Abs and SoftHuber; 1/sqrt(2) for its HouseHolder, which is
      scaled by that; 1/4 for Sigmoid; the largest slope for LeakyReLU, PReLU and ELU; of deel-torchlip (1.0.5) the
      factor that GroupSort, FullSort and MaxMin are given, 1 for HouseHolder, and at least 1 for LPReLU;
    - batch normalisation: the largest scale; BatchCentering: 1;
    - pooling: `pooling_constant`, times the factor that deel-torchlip's poolings by L2 norms are given;
    - a module that moves, repeats or drops entries and puts zeros between them, as Flatten, PixelUnshuffle, ZeroPad2d
      or a slice do: the square root of the largest number of times that it repeats one. It counts as such if it moves
      16 random inputs, of several lengths, alike;
    - an affine module: `linear_upper_bound`, which refuses others.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> [name for name, _ in upper_bound(model, (1, 2, 2)).layers]
    ['0', '1', '2', '3']

    A module of one's own, which is no sequence:

    >>> class Sine(torch.nn.Module):
    ...     def __init__(self, branch):
    ...         super().__init__()
    ...         self.branch = branch
    ...
    ...     def forward(self, x):
    ...         return x + self.branch(x).sin()
    ...
    ...     def certified_bound(self, input_shape):
    ...         return 1 + upper_bound(self.branch, input_shape).total
    >>> round(upper_bound(torch.nn.Sequential(Sine(torch.nn.Identity()), torch.nn.ReLU()), (4,)).total, 6)
    2.0
    """
    layers = []
    with evaluating(model):
        _walk(model, tuple(input_shape), "", layers, _Options(exact_up_to, per_output, trusted))
    return NetworkBound(math.prod(bound for _, bound in layers), layers)


@dataclass(frozen=True)
class _Options:
    exact_up_to: int
    per_output: bool
    trusted: Sequence | None

    def states_its_bound(self, module):
        """Whether a module has a bound of its own that is taken."""
        known = self.trusted is None or type(module).__module__.split(".")[0] in self.trusted
        return known and hasattr(module, "certified_bound") and not _changed_from_outside(module)


def _walk(module, shape, name, layers, options):
    """Append the bounds of a module's layers; return the shape of its outputs."""
    if not options.states_its_bound(module) and _is(module, nn.Sequential):
        # Not named_children, which leaves out the second use of a module.
        children = list(module._modules.items())
        for index, (key, child) in enumerate(children):
            last = index == len(children) - 1
            own = replace(options, per_output=options.per_output and last)
            shape = _walk(child, shape, f"{name}.{key}" if name else key, layers, own)
        return shape
    label = name or type(module).__name__
    try:
        dtype, device = dtype_and_device(module)
        outputs = tuple(evaluate(module, torch.zeros(1, *shape, dtype=dtype, device=device)).shape[1:])
        layers.append((label, _bound(module, shape, label, options)))
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        raise ValueError(f"layer {label!r} ({type(module).__name__}) on shape {shape}: {error}") from error
    return outputs


def _is(module, kind):
    """Whether a module does what its base class does, and nothing else has a hand in it."""
    return isinstance(module, kind) and type(module).forward is kind.forward and not _changed_from_outside(module)


def _changed_from_outside(module):
    """Whether hooks of others, or a forward of the instance's own, may change what its class does."""
    of_all = [hook for kind, hook in hooks_of_all() if "forward" in kind]
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values(), *of_all)
    return any(name in vars(module) for name in REPLACED) or not all(map(is_own, hooks))


def _bound(module, shape, name, options):
    """Return the bound of one layer."""
    if options.states_its_bound(module):
        bound = float(module.certified_bound(shape))
        if not 0 <= bound < math.inf:
            raise ValueError(f"certified_bound must return a finite number >= 0, got {bound}; correct the method.")
        return bound

    def branch(part, part_shape):
        inner = []
        outputs = _walk(part, part_shape, f"{name}.branch", inner, options)
        if outputs != part_shape:
            raise ValueError(
                f"the branch must keep the shape {part_shape}, got {outputs}; a broadcast has another constant."
            )
        return math.prod(bound for _, bound in inner)

    for kind, rule in _CONTAINERS.items():
        if _is_kind(module, kind):
            return rule(module, shape, branch)
    for kind, rule in _ACTIVATIONS.items():
        if _is_kind(module, kind):
            return rule(module, shape) if callable(rule) else rule
    if any(_is(module, kind) for kind in POOLINGS):
        return pooling_constant(module, shape)
    constant = _selection_constant(module, shape)
    if constant is not None:
        return constant
    return _affine_bound(module, shape, options)


def _affine_bound(module, shape, options):
    try:
        return linear_upper_bound(module, shape, options.exact_up_to, per_output=options.per_output)
    except ValueError as error:
        raise ValueError(
            f"no bound is known of this module: {error} Known are nn.Sequential, Residual, affine layers, the usual "
            "activations and poolings, and modules with that method."
        ) from error


def _is_kind(module, kind):
    """`_is`, where `kind` may be "package.Class": of this package or of one that need not be installed."""
    if isinstance(kind, type):
        return _is(module, kind)
    package, name = kind.split(".")
    return any(
        base.__name__ == name and base.__module__.split(".")[0] == package and _is(module, base)
        for base in type(module).__mro__
    )


# --- rules -----------------------------------------------------------------------------------------------------------


def _concatenated(module, shape, branch):
    half = (shape[0] // 2, *shape[1:])
    return max(1.0, branch(module.fn, half))


def _gated(module, shape, branch):
    share = torch.sigmoid(module.alpha).item()
    return share + (1 - share) * branch(module.fn, shape)


def _prescaled(module, shape, branch):
    scale = abs(module.alpha.item())
    return (1 + scale * branch(module.fn, shape)) / (1 + scale)


def _skipped(module, shape, branch):
    a, b = module.weights
    return math.hypot(a * branch(module.branch, shape), b)


_CONTAINERS = {
    Residual: lambda module, shape, branch: 1 + branch(module.branch, shape),
    SkipConnection: _skipped,
    "orthogonium.ConcatResidual": _concatenated,
    "orthogonium.L2NormResidual": lambda module, shape, branch: math.sqrt((1 + branch(module.fn, shape) ** 2) / 2),
    "orthogonium.AdditiveResidual": _gated,
    "orthogonium.PrescaledAdditiveResidual": _prescaled,
}


def _max_min(module, shape):
    axis = getattr(module, "axis", 1)
    channels = shape[axis - 1] if axis > 0 else shape[axis]
    if channels % 2:
        raise ValueError(f"MaxMin sorts pairs of channels, got {channels}; give it an even number.")
    return 1.0


def _celu(module, shape):
    if module.alpha <= 0:
        raise ValueError(f"alpha of CELU must be positive, got {module.alpha}; its slope is unbounded.")
    return 1.0


def _batch_norm(module, shape):
    if module.running_var is None:
        raise ValueError("batch statistics make outputs depend on other examples; use track_running_stats=True.")
    scales = 1 / (module.running_var.double() + module.eps).sqrt()
    if module.weight is not None:
        scales = scales * module.weight.detach().double().abs()
    return scales.max().item()


def _coefficient(module, shape):
    return abs(module._coefficient_lip)


_ACTIVATIONS = {
    **dict.fromkeys((nn.Identity, nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.Softsign, nn.LogSigmoid), 1.0),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout), 1.0),
    nn.Sigmoid: 0.25,
    nn.LeakyReLU: lambda module, shape: max(1.0, abs(module.negative_slope)),
    nn.PReLU: lambda module, shape: max(1.0, module.weight.detach().double().abs().max().item()),
    nn.ELU: lambda module, shape: max(1.0, abs(module.alpha)),
    nn.CELU: _celu,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    "orthobench.BatchCentering": 1.0,
    "orthobench.MaxMin": _max_min,
    "orthogonium.Abs": 1.0,
    "orthogonium.BatchCentering2D": 1.0,
    "orthogonium.HouseHolder": math.sqrt(0.5),
    "orthogonium.MaxMin": _max_min,
    "orthogonium.SoftHuber": 1.0,
    "deel.GroupSort": _coefficient,
    "deel.HouseHolder": 1.0,
    "deel.LPReLU": lambda module, shape: max(1.0, abs(module._coefficient_lip)),
    "deel.MaxMin": _coefficient,
    "deel.ScaledAdaptativeL2NormPool2d": _coefficient,
    "deel.ScaledL2NormPool2d": lambda module, shape: pooling_constant(module, shape) * _coefficient(module, shape),
}


def _selection_constant(module, shape):
    """Return the constant of a module whose outputs are entries of its input, or constants; None if it isn't one."""
    if next(iter(module.parameters()), None) is not None:
        return None
    dtype, device = dtype_and_device(module)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(16, math.prod(shape), generator=generator, dtype=torch.float64)
    inputs = (inputs * torch.tensor([1.0, 1.0, 1e-2, 1e3]).repeat(4)[:, None]).to(device, dtype)
    outputs = evaluate(module, inputs.view(-1, *shape)).flatten(1)
    outputs = outputs[:, (outputs != outputs[:1]).any(0)]  # the others are constants
    if inputs.shape[1] == 0 or outputs.shape[1] == 0:
        return 0.0
    values, order = inputs[0].sort()
    found = torch.searchsorted(values, outputs[0].contiguous()).clamp(max=len(values) - 1)
    source = order[found]
    if not torch.equal(inputs[:, source], outputs):
        return None
    return math.sqrt(source.bincount().max().item())
