"""Which parameters of a network a matrix method gets, and which AdamW."""

import fnmatch
from dataclasses import dataclass

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

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
    """

    name: str
    shape: tuple[int, ...]
    count: int
    method: str
    reason: str


class Routes:
    """The routes of a model's parameters, in the model's order: iterable, and printed as a table.

    Attributes
    ----------
    matrix, other : list of torch.nn.Parameter
        The parameters of each method.
    """

    def __init__(self, routes, parameters):
        self._routes = tuple(routes)
        by_method = {method: [] for method in METHODS}
        for route, parameter in zip(self._routes, parameters, strict=True):
            by_method[route.method].append(parameter)
        self.matrix, self.other = by_method["matrix"], by_method["other"]

    def __iter__(self):
        return iter(self._routes)

    def __len__(self):
        return len(self._routes)

    def __str__(self):
        rows = [("name", "shape", "count", "method", "reason")]
        rows += [
            (route.name, "x".join(map(str, route.shape)) or "scalar", f"{route.count:,}", route.method, route.reason)
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


def route_parameters(model, *, kernels=True, overrides=None):
    """Decide which parameters of a network go to a matrix method such as Muon, and which to AdamW.

    - "matrix": the weights of `nn.Linear`, of convolutions and of `nn.MultiheadAttention`, and of their subclasses.
    - "other": the weights of embeddings; the head, which is the last `nn.Linear` of the model; its first convolution;
      gains, biases and all else of fewer than 2 dimensions; and parameters that are no weight of such a layer: a class
      token, a table of positions, the weights of an LSTM.

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
        If a pattern matches no parameter, or names another method; if a parameter that the matrix method can't take is
        sent to it; or if a lazy module hasn't seen its input yet.

    Notes
    -----
    The rules are those of Jordan et al. (2024), https://github.com/KellerJordan/Muon. A weight that holds several
    matrices, such as ``in_proj_weight`` (query, key and value) or the kernels of a grouped convolution, is one matrix.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}; pass the module itself.")
    overrides = dict(overrides or {})
    for pattern, method in overrides.items():
        if method not in METHODS:
            raise ValueError(f"overrides[{pattern!r}] must be one of {METHODS}, got {method!r}.")

    names = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            names.setdefault(parameter, []).append(name)
    head, first_convolution = _head_and_first_convolution(model)
    routes, unmatched = [], set(overrides)
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
        routes.append(Route(aliases[0], tuple(parameter.shape), parameter.numel(), method, reason))
    if unmatched:
        some = ", ".join(repr(route.name) for route in routes[:3])
        raise ValueError(
            f"overrides {sorted(unmatched)} match no parameter that requires a gradient; names look like {some}: "
            "print(route_parameters(model)) shows them all."
        )
    return Routes(routes, names)


def _head_and_first_convolution(model):
    """Return these two layers of the model, each None if there is none."""
    # The layer inside an attention is a part of it.
    inner = {module.out_proj for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    kinds = (nn.Linear, *_CONVOLUTIONS, *_EMBEDDINGS, nn.MultiheadAttention)
    layers = [module for module in model.modules() if isinstance(module, kinds) and module not in inner]
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
    return "other", "no weight of a linear, convolution, attention or embedding layer"


def _route_weight(layer, head, first_convolution, kernels):
    if isinstance(layer, _EMBEDDINGS):
        return "other", "embedding"
    if isinstance(layer, nn.Linear):
        return ("other", "head: the last linear layer") if layer is head else ("matrix", "linear")
    if not kernels:
        return "other", "convolution, not taken (kernels=False)"
    return ("other", "first convolution") if layer is first_convolution else ("matrix", "convolution")
