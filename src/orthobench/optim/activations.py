"""Second moments of what goes into the layers of a network, while it is trained."""

from functools import partial

import torch
import torch.distributed as dist
from torch import nn

from ..linalg.precision import full_float32
from ..linalg.scaling import at_least_float32
from .momentum import check_range

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_SUPPORTED = "nn.Linear and nn.Conv1d to nn.Conv3d with groups=1"
# Entries of the matrix of inputs that are unfolded and cast at a time: 64 MB in float32.
_PIECE = 2**24


class ActivationMoments:
    """Averages C = A A^T / n of the inputs A of layers, one input a column, collected by forward hooks.

    The inputs of a linear layer are its features at every example and position. Those of a convolution are the patches
    that its kernel sees, in the order of the kernel flattened to (C_out, -1): stride, padding and dilation are heeded.
    So W A are the outputs, before the bias, for the weight W as a matrix of its first dimension by all others.

    Nothing is collected unless `collecting` is set, and then only in layers that are in training mode. Everything
    between two calls of `update` is one sample, whatever its rows came from: micro-batches, several uses of a
    layer, several layers with one tied weight, and, if torch.distributed is initialised, all processes.

    Parameters
    ----------
    model : torch.nn.Module
    parameters : iterable of torch.nn.Parameter
        Weights of layers of the model: of nn.Linear, or of nn.Conv1d to nn.Conv3d with ``groups=1``.
    smoothing : float
        In [0, 1): C <- smoothing C + (1 - smoothing) new one. The first sample is taken as it is; 0 keeps the last.

    Attributes
    ----------
    collecting : bool
        Whether forward passes are looked at; False at first. Optimizers with a criterion set it.
    moments : dict of torch.nn.Parameter to Tensor (n_in, n_in)
        The averages, in float32 or that of a wider type of the parameter; not of weights whose layers weren't used yet.

    Raises
    ------
    TypeError, ValueError
        If a parameter isn't the weight of such layers and no others, or `smoothing` is out of its range. Among those
        refused are embeddings, transposed and grouped convolutions, attention (nn.MultiheadAttention doesn't call its
        layers), parametrised weights, and layers with a forward pass of their own.

    Notes
    -----
    C takes n_in^2 entries a weight, n_in^2 = (C_in k^2)^2 for a convolution, and while it is collected n_in^2 more; an
    update costs 2 rows n_in^2 operations, computed in full float32 whatever autocast allows. No input and no graph is
    kept: what a hook leaves behind is one matrix a weight. Samples that aren't finite are dropped, and a
    layer that isn't used in a sample keeps its average.

    Under torch.compile the hooks are compiled along while they do nothing; a forward pass that is looked at runs with a
    graph break in each layer, so that ``fullgraph=True`` excludes them.

    A checkpointed forward pass that runs twice counts twice, which changes no average.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    >>> weight = model[2].weight
    >>> with ActivationMoments(model, [weight]) as activations:
    ...     activations.collecting = True
    ...     _ = model(torch.randn(7, 3))
    ...     activations.update()
    >>> activations.moments[weight].shape
    torch.Size([5, 5])
    """

    def __init__(self, model, parameters, smoothing=0.9):
        check_range("smoothing", smoothing, 1, "0.9 is the default, 0 is none")
        self.smoothing = smoothing
        self.collecting = False
        self.moments = {}
        # No module is kept, only hooks in it: model and statistics are freed without waiting for the garbage collector.
        owners = _layers(model, parameters)
        self._parameters = tuple(owners)
        self._sums, self._rows = {}, {}
        self._uncompiled_add = torch.compiler.disable(ActivationMoments._add)  # here: this imports the compiler
        self._handles = [
            layer.register_forward_pre_hook(partial(self._look, parameter), with_kwargs=True)
            for parameter, layers in owners.items()
            for layer in layers
        ]

    def __contains__(self, parameter):
        """Whether the inputs of this parameter's layers are looked at."""
        return any(parameter is each for each in self._parameters)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        """Remove the hooks. The averages remain."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._forget()

    @torch.no_grad()
    def update(self):
        """Take what was collected since the last call into the averages; in every process, if there are several."""
        rows = self._total_rows()
        for p, count in zip(self._parameters, rows, strict=True):
            if not count:
                continue
            total = self._sums.get(p)
            if total is None:  # seen in other processes alone
                total = torch.zeros(_inputs(p), _inputs(p), dtype=at_least_float32(p.dtype), device=p.device)
            if _distributed():
                dist.all_reduce(total)
            sample = total / count
            if not sample.isfinite().all():
                continue
            if p in self.moments:
                self.moments[p].lerp_(sample, 1 - self.smoothing)
            else:
                self.moments[p] = sample
        self._forget()

    def _forget(self):
        self._sums.clear()
        self._rows.clear()

    def _total_rows(self):
        rows = [self._rows.get(p, 0) for p in self._parameters]
        if not (rows and _distributed()):
            return rows
        total = torch.tensor(rows, dtype=torch.int64, device=self._parameters[0].device)
        dist.all_reduce(total)
        return total.tolist()

    def _look(self, parameter, layer, args, kwargs):
        if self.collecting and layer.training:
            self._uncompiled_add(self, parameter, layer, args[0] if args else kwargs["input"])

    @torch.no_grad()
    def _add(self, parameter, layer, inputs):
        if inputs.numel() == 0 or inputs.is_meta:
            return
        dtype = at_least_float32(parameter.dtype)
        if isinstance(layer, nn.Linear):
            inputs = inputs.reshape(-1, layer.in_features)
        elif inputs.ndim < parameter.ndim:  # without a batch
            inputs = inputs.unsqueeze(0)
        with torch.autocast(inputs.device.type, enabled=False), full_float32():
            for piece in inputs.split(_examples_at_a_time(layer, inputs)):
                rows = _rows(layer, piece).to(dtype)
                self._rows[parameter] = self._rows.get(parameter, 0) + len(rows)
                if parameter in self._sums:
                    self._sums[parameter].addmm_(rows.T, rows)
                else:
                    self._sums[parameter] = rows.T @ rows


def _inputs(parameter):
    """n_in, the number of columns of the weight as a matrix."""
    return parameter.shape[1:].numel()


def _distributed():
    return dist.is_available() and dist.is_initialized()


def _examples_at_a_time(layer, inputs):
    """So many that the rows they unfold to are not much more than a piece."""
    entries = inputs[0].numel()
    if not isinstance(layer, nn.Linear):
        # A patch starts at each stride-th place, at most.
        entries *= max(1, _product(layer.kernel_size) // _product(layer.stride))
    return max(1, _PIECE // entries)


def _product(numbers):
    return torch.Size(numbers).numel()


def _rows(layer, inputs):
    """Return the inputs as rows (n, n_in): features, or patches in the order of the flattened kernel."""
    if isinstance(layer, nn.Linear):
        return inputs
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    patches = nn.functional.pad(inputs, _padding(layer), mode=mode)
    spatial = range(2, inputs.ndim)
    for dim, size, stride, dilation in zip(spatial, layer.kernel_size, layer.stride, layer.dilation, strict=True):
        patches = patches.unfold(dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
    # (examples, channels, *places, *kernel) to (examples, *places, channels, *kernel)
    return patches.movedim(1, inputs.ndim - 1).reshape(-1, layer.in_channels * _product(layer.kernel_size))


def _padding(layer):
    """Return the padding in the order of `torch.nn.functional.pad`: the last dimension first, before and after."""
    if layer.padding == "valid":
        pairs = [(0, 0)] * len(layer.kernel_size)
    elif layer.padding == "same":  # the odd one is added after
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        pairs = [(total // 2, total - total // 2) for total in totals]
    else:
        pairs = [(each, each) for each in layer.padding]
    return [each for pair in reversed(pairs) for each in pair]


def _layers(model, parameters):
    """Return the layers of each parameter; raise ValueError if one of them isn't supported."""
    owners = {p: [] for p in parameters}  # in their order, each once
    inside = {module.out_proj for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    for name, module in model.named_modules():
        for local, p in module.named_parameters(recurse=False, remove_duplicate=False):
            if p in owners:
                problem = _problem(module, local, module in inside)
                if problem:
                    raise ValueError(
                        f"the inputs of {name + '.' + local if name else local!r}, of shape {tuple(p.shape)}, can't be "
                        f"looked at: {problem}. Supported are weights of {_SUPPORTED}; give the parameter to an "
                        "optimizer, or to a group, that needs no activations."
                    )
                owners[p].append(module)
    for index, (p, layers) in enumerate(owners.items()):
        if not layers:
            raise ValueError(
                f"parameter {index}, of shape {tuple(p.shape)}, is none of the model's: pass the model that holds it."
            )
    return owners


def _problem(module, local, inside_attention):
    """Say why the inputs of a module's parameter can't be looked at, None if they can."""
    kind = next((each for each in _LAYERS if isinstance(module, each)), None)
    if kind is None:
        return f"its layer is of type {type(module).__name__}"
    if local != "weight":
        return f"it isn't the weight of its {kind.__name__}"
    if inside_attention:
        return "nn.MultiheadAttention uses the weight without calling the layer"
    if any(getattr(type(module), each, None) is not getattr(kind, each, None) for each in ("forward", "_conv_forward")):
        return f"{type(module).__name__} has a forward pass of its own"
    if getattr(module, "groups", 1) != 1:
        return f"the {kind.__name__} has groups={module.groups}, and each group its own inputs"
    return None
