"""Choosing the exponent of one parameter, or the weights of its mix, by a criterion and what it remembers."""

import math

from .criteria import PowerDirections, best_exponent
from .powers import two_directions
from .schatten_options import PRODUCT_EXPONENTS
from .surrogate import best_weights, coefficients


def choose(state, G, U, C, group):
    """Choose anew, and leave the choice in the state; the old one stays where nothing can be told.

    That is where G or U isn't finite, where no exponent predicts a finite decrease > 0, and, for "two_directions",
    where the best mix points against U.

    Parameters
    ----------
    state : dict
        Of the parameter: "exponent", "weights" of the mix, and averages over the choices: "alignment", "inner".
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
        state["weights"] = weights.tolist()
        state["exponent"] = state["weights"][0] / sum(map(abs, state["weights"]))


def _smooth(state, name, sample, smoothing):
    """Take a sample into an average of the state, and return that."""
    if name in state:
        state[name].lerp_(sample, 1 - smoothing)
    else:
        state[name] = sample
    return state[name]
