"""The options of torch.optim.Muon under their names there, and recipes as plain data for state dicts."""

import dataclasses
import math
from numbers import Real

from ..linalg import RECIPES, Recipe

# torch.optim.Muon's defaults.
TRIPLE, STEPS = (3.4445, -4.7750, 2.0315), 5


def take_torchs_names(options, has_eps):
    """Replace torch's names in a dict of options, in place: ns_coefficients, ns_steps, adjust_lr_fn and eps.

    Parameters
    ----------
    options : dict
    has_eps : bool
        Whether "eps" is an option of ours too, which is then left alone but in a group of torch.optim.Muon's.
    """
    if not has_eps or "ns_coefficients" in options:
        options.pop("eps", None)
    if "adjust_lr_fn" in options:
        function = options.pop("adjust_lr_fn")
        if function is not None:
            options["adjust_lr"] = function
        options.setdefault("adjust_lr", "original")
    coefficients, steps = options.pop("ns_coefficients", None), options.pop("ns_steps", None)
    if coefficients is None and steps is None:
        return
    if options.get("steps") is not None:
        raise ValueError(
            f"steps and ns_steps are two names of one option, got {options['steps']} and {steps}; give one."
        )
    options["orthogonaliser"], options["steps"] = _as_recipe(TRIPLE if coefficients is None else coefficients), steps


def _as_recipe(coefficients):
    """Return a recipe: the published one's name where there is one, a `Recipe` for other coefficients."""
    if isinstance(coefficients, Recipe):
        return coefficients
    try:
        triples = tuple(coefficients)
        one = len(triples) == 3 and all(isinstance(each, Real) for each in triples)
        triples = (triples,) * STEPS if one else tuple(map(tuple, triples))
        fits = bool(triples) and all(
            len(triple) == 3 and all(isinstance(each, Real) and math.isfinite(each) for each in triple)
            for triple in triples
        )
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(
            "ns_coefficients must be three finite numbers (a, b, c), a list of such triples, one a step, or a Recipe, "
            f"got {coefficients!r}; {TRIPLE} is Muon's."
        )
    triples = tuple(tuple(map(float, triple)) for triple in triples)
    if triples == RECIPES["muon"].coefficients:
        return "muon"
    return Recipe("own", "Own coefficients", triples, preconditioner=None, source="ns_coefficients")


def plain(orthogonaliser):
    """Return what a state dict holds for it: a Recipe as a dict, which loads with weights_only=True."""
    return dataclasses.asdict(orthogonaliser) if isinstance(orthogonaliser, Recipe) else orthogonaliser


def from_plain(orthogonaliser):
    """Undo `plain`."""
    return Recipe(**orthogonaliser) if isinstance(orthogonaliser, dict) else orthogonaliser
