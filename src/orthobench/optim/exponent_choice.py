"""Choosing the exponent of one parameter, or the weights of its mix, by a criterion and what it remembers."""

import math

import torch

from ..linalg.scaling import at_least_float32
from .criteria import PowerDirections, best_exponent
from .powers import two_directions
from .schatten_options import PRODUCT_EXPONENTS
from .surrogate import best_weights, coefficients


def _float64(_):
    return torch.float64


# The types of what the state holds, by that of the parameter: averages aren't rounded to bfloat16.
STATISTICS = {
    "second_moment": at_least_float32,
    "input_moment": at_least_float32,
    "alignment": _float64,
    "curvatures": _float64,
    "inner": _float64,
    "weights": _float64,
}


def statistics(group):
    """Return the names of what the options ask for in the state of a parameter, beside its momentum."""
    names, criterion = set(), group["exponent"]
    if group["preconditioner"] is not None:
        names |= {"updates", "second_moment"}
    if group["bias_correction"]:
        names.add("updates")
    if isinstance(criterion, str):
        names |= {"exponent", "input_moment"}
        names |= {"bound": set(), "two_directions": {"inner", "weights"}}.get(criterion, {"alignment"})
    if group["smooth_curvatures"]:
        names.add("curvatures")
    return names


def add_statistics(state, p, group):
    """Add what is missing of these: a count of 0, the initial exponent and weights, and zeros, for nothing so far."""
    rows, columns = p.shape[0], p.shape[1:].numel()
    share = group["initial_exponent"]
    shapes = {
        "second_moment": (rows, columns),
        "input_moment": (columns, columns),
        "alignment": (min(rows, columns),),
        "curvatures": (min(rows, columns),),
        "inner": (2,),
    }
    for name in sorted(statistics(group) - state.keys()):
        if name == "updates":
            state[name] = 0
        elif name == "exponent":
            state[name] = float(share)
        elif name == "weights":
            state[name] = torch.tensor([share, 1 - abs(share)], dtype=torch.float64, device=p.device)
        else:
            state[name] = torch.zeros(shapes[name], dtype=STATISTICS[name](p.dtype), device=p.device)


def choose(state, G, U, C, group):
    """Choose anew, and leave the choice in the state; the old one stays where nothing can be told.

    That is where G or U isn't finite, where no exponent predicts a finite decrease > 0, and, for "two_directions",
    where the best mix points against U.

    Parameters
    ----------
    state : dict
        Of the parameter, with what `add_statistics` adds: "exponent", "weights" of the mix, and averages over the
        choices, zero before the first one: "alignment", "curvatures", "inner".
    G, U : Tensor (m, n)
        Gradient, and the average of gradients whose directions are compared.
    C : Tensor (n, n)
        Second moment of the inputs.
    group : dict
        The options of `SchattenMuon`.
    """
    if not (G.isfinite().all() and U.isfinite().all()):
        return
    if group["exponent"] == "two_directions":
        _choose_weights(state, G, U, C, group)
    else:
        _choose_exponent(state, G, U, C, group)


def _choose_exponent(state, G, U, C, group):
    powers = PowerDirections(U, C)
    if group["exponent"] == "bound":
        alignment = powers.sigma
    else:
        alignment = _smooth(state, "alignment", powers.alignment(G), group["smoothing"])
    if group["smooth_curvatures"]:
        powers.curvatures = _smooth(state, "curvatures", powers.curvatures, group["smoothing"])
    among = PRODUCT_EXPONENTS if group["method"] == "products" else None
    best = best_exponent(group["exponent"], powers, alignment, *group["exponent_range"], among=among)
    if 0 < float(best.decrease) < math.inf:
        state["exponent"] = float(best.exponent)


def _choose_weights(state, G, U, C, group):
    (directions,) = two_directions([U], group)
    inner, curvatures = coefficients(G, directions, C)
    weights = best_weights(_smooth(state, "inner", inner, group["smoothing"]), curvatures)
    ahead = sum(w * (U.double() * D.double()).sum() for w, D in zip(weights, directions, strict=True))
    if 0 < float(ahead) < math.inf:
        state["weights"] = weights
        share, other = weights.tolist()
        state["exponent"] = share / (abs(share) + abs(other))


def _smooth(state, name, sample, smoothing):
    """Take a sample into an average of the state, and return that."""
    if state[name].any():
        state[name].lerp_(sample, 1 - smoothing)
    else:
        state[name] = sample
    return state[name]
