"""A ReLU network as affine stages with ReLUs between, each of which can be run forwards, backwards and on radii."""

import copy
import math

import torch
from torch import nn
from torch.nn.functional import linear

from ...lipschitz.bounds.jacobian import dtype_and_device
from ...lipschitz.layers.same import refuse_ragged_sizes
from ...lipschitz.layers.statement import StatedSequential
from ...models.lipschitz_networks import FirstChannels, ZeroFeatures, ZeroPadding
from ...models.pixels import PixelShuffle, PixelUnshuffle

# Each output is an input, or a mean of inputs: on radii they act as they are. (Padding puts zeros: radii of 0.)
_AVERAGES = (
    nn.Flatten, nn.Unflatten, nn.Identity, nn.PixelUnshuffle, nn.PixelShuffle, nn.ZeroPad2d, nn.AvgPool2d,
    nn.AdaptiveAvgPool2d, nn.Dropout, nn.Dropout2d, PixelUnshuffle, PixelShuffle, FirstChannels, ZeroFeatures,
    ZeroPadding,
)  # fmt: skip
_WEIGHTED = (nn.Linear, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

# Rows of an identity that are taken back through a stage at once.
_ROWS_AT_ONCE = 256


class Stage:
    """An affine map, a chain of affine modules, between tensors of shapes without the batch axis.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
    widest : int
        Entries of the largest of all tensors on the way.
    """

    def __init__(self, modules, input_shape, dtype, device):
        self.modules, self.input_shape = modules, tuple(input_shape)
        self.constant = torch.zeros(1, *input_shape, dtype=dtype, device=device)
        self.widest = self.constant.numel()
        for module in modules:
            self.constant = module(self.constant)
            self.widest = max(self.widest, self.constant.numel())
        self.output_shape = tuple(self.constant.shape[1:])

    def forward(self, x):
        """Return the outputs (b, ...) of inputs (b, ...)."""
        for module in self.modules:
            x = module(x)
        return x

    def radii(self, radii):
        """Return how far outputs (b, ...) can move if the inputs move by radii (b, ...) at most, each by itself."""
        for module in self.modules:
            radii = _absolute(module, radii)
        return radii

    def transpose(self, rows):
        """Return A W for rows A (b, ...) of the shape of the outputs, in that of the inputs: differentiable."""
        if len(self.modules) == 1 and type(self.modules[0]) is nn.Linear:
            return rows @ self.modules[0].weight
        with torch.enable_grad():
            x = torch.zeros(len(rows), *self.input_shape, dtype=rows.dtype, device=rows.device, requires_grad=True)
            (product,) = torch.autograd.grad(self.forward(x), x, rows, create_graph=rows.requires_grad)
        return product

    def row_norms(self, order):
        """Return the norms of the rows of W in an order (1 or 2), in the shape of the outputs (1, ...)."""
        outputs = math.prod(self.output_shape)
        norms = []
        for start in range(0, outputs, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, outputs - start)
            rows = torch.zeros(count, outputs, dtype=self.constant.dtype, device=self.constant.device)
            rows[torch.arange(count), start + torch.arange(count)] = 1
            norms.append(self.transpose(rows.view(count, *self.output_shape)).flatten(1).norm(order, dim=1))
        return torch.cat(norms).view(1, *self.output_shape)


def stages_of(model, input_shape):
    """Split a network into affine stages, with a ReLU after each but the last.

    Parameters
    ----------
    model : torch.nn.Module
        Made of nn.Sequential, nn.ReLU and affine modules: nn.Linear, nn.Conv2d, batch normalisation (evaluated with
        its running statistics), average pooling, padding with zeros, and what moves or selects entries; without hooks
        and parametrisations. It is copied.
    input_shape : sequence of int
        Without the batch axis.

    Returns
    -------
    list of Stage

    Raises
    ------
    ValueError
        If a module is none of these; it names the module.
    """
    dtype, device = dtype_and_device(model)
    model = copy.deepcopy(model).requires_grad_(False).eval()
    groups = [[]]
    for name, module in _leaves(model, ""):
        if type(module) is nn.ReLU and not _depends_on_more(module):
            groups.append([])
        elif type(module) in (*_AVERAGES, *_WEIGHTED, *_NORMS) and not _depends_on_more(module):
            groups[-1].append(module)
        else:
            raise ValueError(
                f"no bounds are known of layer {name!r} ({type(module).__name__}): give a network of nn.Sequential, "
                "nn.ReLU and affine layers, without hooks; export_plain of orthobench.lipschitz.layers removes "
                "parametrisations."
            )
    stages, shape = [], tuple(input_shape)
    with torch.no_grad():
        for group in groups:
            stages.append(Stage(group, shape, dtype, device))
            shape = stages[-1].output_shape
    return stages


def _depends_on_more(module):
    """Whether outputs may depend on more than the input and the weights: on the batch, hooks, or another forward."""
    return bool(
        (isinstance(module, _NORMS) and module.running_var is None)
        or module._forward_hooks
        or any(hook is not refuse_ragged_sizes for hook in module._forward_pre_hooks.values())
        or "forward" in vars(module)
    )


def _leaves(module, name):
    if type(module) in (nn.Sequential, StatedSequential) and not _depends_on_more(module):
        # Not named_children, which leaves out the second use of a module.
        for key, child in module._modules.items():
            yield from _leaves(child, f"{name}.{key}" if name else key)
    else:
        yield name or type(module).__name__, module


def _absolute(module, radii):
    """Return |W| r for the linear part W of a module."""
    if type(module) is nn.Linear:
        return linear(radii, module.weight.abs())
    if type(module) is nn.Conv2d:
        return module._conv_forward(radii, module.weight.abs(), None)
    if type(module) in _NORMS:
        scales = 1 / (module.running_var + module.eps).sqrt()
        scales = scales if module.weight is None else scales * module.weight.abs()
        return radii * scales.view(1, -1, *(1 for _ in radii.shape[2:]))
    return module(radii).abs()  # a divisor of a mean may be negative
