"""Which parameters of a network a matrix method gets, and which AdamW."""

import fnmatch
from dataclasses import dataclass

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from .blocks import check_division, check_split

METHODS = ("matrix", "other")

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


@dataclass(frozen=True)
class Route:
    """Where one parameter goes, and why.

    Attributes
    ----------
    name : str
        As in ``model.named_parameters()``.
    shape : tuple of int
    count : int
        Number of entries.
    method : {"matrix", "other"}
        The matrix method (Muon and its relatives), or another one (AdamW).
    reason : str
    split : None, "stacked", int or tuple of int
        Which matrices it holds: the option of `TurboMuon`.
    transposed : bool
        Whether it is stored as inputs by outputs: the option of `TurboMuon`.
    """

    name: str
    shape: tuple[int, ...]
    count: int
    method: str
    reason: str
    split: object = None
    transposed: bool = False


class Routes:
    """The routes of a model's parameters, in the model's order: iterable, and printed as a table.

    Attributes
    ----------
    matrix, other : list of torch.nn.Parameter
        The parameters of each method.
    groups : list of dict
        Those of the matrix method, with their names, as groups for `TurboMuon` and `SchattenMuon`: with the options
        ``split`` and ``transposed`` by which fused, stacked and transposed ones are told apart. Made anew each time,
        as optimizers write into them.
    """

    def __init__(self, routes, parameters):
        self._routes, self._parameters = tuple(routes), tuple(parameters)
        by_method = {method: [] for method in METHODS}
        for route, parameter in zip(self._routes, self._parameters, strict=True):
            by_method[route.method].append(parameter)
        self.matrix, self.other = by_method["matrix"], by_method["other"]

    @property
    def groups(self):
        """Return the groups of the matrix method: see the class."""
        groups = {}
        for route, parameter in zip(self._routes, self._parameters, strict=True):
            if route.method == "matrix":
                groups.setdefault((route.split, route.transposed), []).append((route.name, parameter))
        return [
            {"params": params, "split": split, "transposed": transposed}
            for (split, transposed), params in groups.items()
        ]

    def __iter__(self):
        return iter(self._routes)

    def __len__(self):
        return len(self._routes)

    def __str__(self):
        rows = [("name", "shape", "count", "method", "reason")]
        rows += [
            (
                route.name,
                "x".join(map(str, route.shape)) or "scalar",
                f"{route.count:,}",
                route.method,
                _describe(route),
            )
            for route in self
        ]
        name, shape, count, method = (max(len(row[i]) for row in rows) for i in range(4))
        lines = [f"{row[0]:{name}}  {row[1]:>{shape}}  {row[2]:>{count}}  {row[3]:{method}}  {row[4]}" for row in rows]
        total = sum(route.count for route in self)
        for each in METHODS:
            counts = [route.count for route in self if route.method == each]
            share = f" ({sum(counts) / total:.1%})" if total else ""
            lines.append(f"{each}: {len(counts)} parameters with {sum(counts):,} entries{share}")
        return "\n".join(lines)


def route_parameters(model, *, kernels=True, overrides=None, split=None, heads=False):
    """Decide which parameters of a network go to a matrix method such as Muon, and which to AdamW.

    - "matrix": the weights of `nn.Linear`, of convolutions and of `nn.MultiheadAttention`, and of their subclasses, and
      of the `Conv1D` of transformers, a linear layer that stores its weight transposed.
    - "other": the weights of embeddings; the head, which is the last `nn.Linear` of the model; its first convolution;
      depthwise convolutions, each of whose outputs sees one channel; gains, biases and all else of fewer than 2
      dimensions; and parameters that are no weight of such a layer: a class token, a table of positions, the weights
      of an LSTM.

    "Last" and "first" go by the order in which the layers were registered. The output projection inside
    `nn.MultiheadAttention` is never the head. If a model has one layer only (linear, convolution, attention or
    embedding), that is neither a head nor a first convolution. A network without a head, or whose head is registered
    before its body, needs `overrides`: print the routes.

    Parameters
    ----------
    model : torch.nn.Module
    kernels : bool
        Whether the matrix method takes convolution kernels, of more than 2 dimensions. `TurboMuon` does;
        torch.optim.Muon doesn't: with False they go to "other".
    overrides : dict of str to {"matrix", "other"}, optional
        Patterns of names, as of `fnmatch` (``"*.query.weight"``), that go elsewhere; where several match, the last one
        counts.
    split : dict of str to None, "stacked", int or sequence of int, optional
        Patterns of names, of parameters that hold several matrices; `TurboMuon` says how. ``{"*.c_attn.weight": 3}``
        are query, key and value; ``{"*.qkv.weight": (512, 128, 128)}`` are some of unequal sizes. The last pattern that
        matches counts. That ``in_proj_weight`` of `nn.MultiheadAttention` holds three is known.
    heads : bool
        Whether the projections of query, key and value in `nn.MultiheadAttention` hold a matrix for each head.

    Returns
    -------
    Routes
        Of every parameter that requires a gradient: frozen ones are left out. A tied weight appears once, under its
        first name; it goes to "other" if one of its layers sends it there. The tensors under a parametrisation
        (`torch.nn.utils.parametrize`) go where the weight would, except for gains stored as (m, 1, ...) or (1, n, ...),
        such as those of `weight_norm`, which go to "other".

    Raises
    ------
    TypeError
        If `model` isn't a module.
    ValueError
        If a pattern matches no parameter, names another method, or splits what doesn't go to the matrix method or not
        into that; if a parameter that the matrix method can't take is sent to it; or if a lazy module hasn't seen its
        input yet.

    Notes
    -----
    The rules are those of Jordan et al. (2024), https://github.com/KellerJordan/Muon. Give ``routes.groups`` to the
    optimizer: in ``routes.matrix``, a plain list, a weight that holds several matrices is one, and a transposed one is
    taken as it is stored. The kernels of a grouped convolution are one matrix in both.

    Examples
    --------
    >>> import torch
    >>> from orthobench.optim import TurboMuon, route_parameters
    >>> model = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(16, 4), 2)
    >>> routes = route_parameters(model, heads=True)
    >>> [group["split"] for group in routes.groups]
    [12, None]
    >>> optimizers = [TurboMuon(routes.groups), torch.optim.AdamW(routes.other)]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}; pass the module itself.")
    overrides = dict(overrides or {})
    for pattern, method in overrides.items():
        if method not in METHODS:
            raise ValueError(f"overrides[{pattern!r}] must be one of {METHODS}, got {method!r}.")
    split = {
        pattern: value if value is None or isinstance(value, (str, int)) else tuple(value)
        for pattern, value in (split or {}).items()
    }
    for value in split.values():
        check_split(value)

    names = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            names.setdefault(parameter, []).append(name)
    head, first_convolution = _head_and_first_convolution(model)
    routes, unmatched = [], {*overrides, *split}
    for parameter, aliases in names.items():
        if is_lazy(parameter):
            raise ValueError(f"parameter {aliases[0]!r} has no shape yet; run the model on one batch first.")
        each = [_route(model, name, parameter, head, first_convolution, kernels) for name in aliases]
        method, reason = max(each, key=lambda route: route[0] == "other")
        for pattern, wanted in overrides.items():
            if any(fnmatch.fnmatchcase(name, pattern) for name in aliases):
                unmatched.discard(pattern)
                method, reason = wanted, f"override {pattern!r}"
        if method == "matrix" and (parameter.ndim < 2 or (parameter.ndim > 2 and not kernels)):
            takes = "2 or more dimensions" if kernels else "2 dimensions (kernels=False)"
            raise ValueError(
                f"{reason} sends {aliases[0]!r} of shape {tuple(parameter.shape)} to the matrix method, which takes "
                f"{takes}; make the pattern narrower."
            )
        parts, transposed = _layout(model, aliases[0], heads) if method == "matrix" else (None, False)
        for pattern, wanted in split.items():
            if any(fnmatch.fnmatchcase(name, pattern) for name in aliases):
                unmatched.discard(pattern)
                if method == "other":
                    raise ValueError(
                        f"split[{pattern!r}] matches {aliases[0]!r}, which goes to 'other' ({reason}); send it to the "
                        "matrix method with overrides, or make the pattern narrower."
                    )
                parts = wanted
        check_division(parameter.shape, parts, transposed, f"parameter {aliases[0]!r}")
        shape = tuple(parameter.shape)
        routes.append(Route(aliases[0], shape, parameter.numel(), method, reason, parts, transposed))
    for option, patterns in (("overrides", overrides), ("split", split)):
        missing = sorted(unmatched & patterns.keys())
        if missing:
            some = ", ".join(repr(route.name) for route in routes[:3])
            raise ValueError(
                f"{option} {missing} match no parameter that requires a gradient; names look like {some}: "
                "print(route_parameters(model)) shows them all."
            )
    return Routes(routes, names)


def _describe(route):
    """Return the reason for a route, with the matrices that the parameter holds."""
    parts = "" if route.split is None else f", split={route.split}"
    return route.reason + parts + ", transposed" * route.transposed


def _is_transposed(layer):
    """Whether it is the linear layer of transformers that stores its weight as inputs by outputs."""
    return any(kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.") for kind in type(layer).mro())


def _layout(model, name, heads):
    """Return what is known of the matrices that a parameter holds: `split` and `transposed` of its route."""
    path, _, local = name.rpartition(".")
    owner = model.get_submodule(path)
    if isinstance(owner, nn.MultiheadAttention) and local in _ATTENTION:
        parts = (3 if local == "in_proj_weight" else 1) * (owner.num_heads if heads else 1)
        return (None if parts == 1 else parts), False
    return None, _is_transposed(owner)


def _head_and_first_convolution(model):
    """Return these two layers of the model, each None if there is none."""
    # The layer inside an attention is a part of it.
    inner = {module.out_proj for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    kinds = (nn.Linear, *_CONVOLUTIONS, *_EMBEDDINGS, nn.MultiheadAttention)
    layers = [m for m in model.modules() if (isinstance(m, kinds) or _is_transposed(m)) and m not in inner]
    if len(layers) == 1:
        return None, None
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    convolutions = [layer for layer in layers if isinstance(layer, _CONVOLUTIONS)]
    return (linear or [None])[-1], (convolutions or [None])[0]


def _route(model, name, parameter, head, first_convolution, kernels):
    """Return the method and the reason for a parameter under one of its names."""
    if parameter.ndim < 2:
        return "other", "fewer than 2 dimensions"
    path, _, local = name.rpartition(".")
    owner = model.get_submodule(path)
    if isinstance(owner, parametrize.ParametrizationList):  # at layer.parametrizations.weight
        if local != "original" and parameter.numel() == max(parameter.shape):  # one of several tensors
            return "other", "gains of a parametrised weight"
        path, _, local = path.rpartition(".")
        owner = model.get_submodule(path.rpartition(".")[0])
    if isinstance(owner, nn.MultiheadAttention) and local in _ATTENTION:
        return "matrix", "attention"
    if isinstance(owner, (nn.Linear, *_CONVOLUTIONS, *_EMBEDDINGS)) and local == "weight":
        return _route_weight(owner, head, first_convolution, kernels)
    if _is_transposed(owner) and local == "weight":
        return "matrix", "linear"
    return "other", "no weight of a linear, convolution, attention or embedding layer"


def _route_weight(layer, head, first_convolution, kernels):
    if isinstance(layer, _EMBEDDINGS):
        return "other", "embedding"
    if isinstance(layer, nn.Linear):
        return ("other", "head: the last linear layer") if layer is head else ("matrix", "linear")
    if not kernels:
        return "other", "convolution, not taken (kernels=False)"
    if layer is first_convolution:
        return "other", "first convolution"
    is_depthwise = layer.groups == layer.in_channels > 1
    return ("other", "depthwise convolution") if is_depthwise else ("matrix", "convolution")
