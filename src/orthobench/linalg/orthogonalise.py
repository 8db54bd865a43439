"""Every orthogonaliser under one name: the Newton-Schulz recipes, and the factorisations."""

import torch

from .direct import polar_factor, qr_factor
from .newton_schulz import newton_schulz
from .recipes import RECIPES
from .shapes import map_by_shape


def orthogonalise(matrices, orthogonaliser="turbo_muon", steps=None):
    """Replace each matrix X = U S V^T by a matrix with orthonormal rows or columns, such as U V^T, or close to one.

    Parameters
    ----------
    matrices : Tensor (..., m, n), or list or tuple of such tensors
        float32, bfloat16 or float64. Not modified.
    orthogonaliser : str
        One of `ORTHOGONALISERS`: a key of `RECIPES` (`newton_schulz` with that recipe), "svd" (`polar_factor`) or "qr"
        (`qr_factor`). Recipes that are superseded, or turn singular directions around (see `Recipe.scalar_minimum`),
        are not among them.
    steps : int, optional
        Run that many steps of a recipe, as in `newton_schulz`; all of them by default. Not with "svd" or "qr".

    Returns
    -------
    Tensor (..., m, n), or list of Tensor in the same order
        New tensors, of the same shape, dtype and device. No gradient is recorded. The zero matrix gives zero, with "qr"
        too, where `qr_factor` itself would give columns of the identity.

    Raises
    ------
    TypeError
        If something isn't a tensor, or has another dtype.
    ValueError
        If a tensor has fewer than 2 dimensions, the name is unknown, or `steps` is out of its range or doesn't apply.
    """
    check_orthogonaliser(orthogonaliser, steps)
    if orthogonaliser in _DIRECT:
        return _DIRECT[orthogonaliser](matrices)
    return newton_schulz(matrices, orthogonaliser, steps)


def check_orthogonaliser(orthogonaliser, steps=None):
    """Raise ValueError unless `orthogonalise` takes these arguments."""
    recipe = RECIPES[orthogonaliser] if isinstance(orthogonaliser, str) and orthogonaliser in RECIPES else None
    if (recipe.name if recipe else orthogonaliser) not in ORTHOGONALISERS:
        replaced = f", which {recipe.superseded_by!r} has replaced" if recipe else ""
        raise ValueError(
            f"orthogonaliser must be one of {', '.join(map(repr, ORTHOGONALISERS))}, got {orthogonaliser!r}{replaced}; "
            "use newton_schulz for a Recipe of your own."
        )
    if recipe:
        recipe.polynomials(steps)
    elif steps is not None:
        raise ValueError(
            f"steps must be None with orthogonaliser={orthogonaliser!r}, got {steps!r}: a factorisation has no steps; "
            "leave it out, or choose a recipe such as 'turbo_muon'."
        )


def _qr_factor_or_zero(matrices):
    return map_by_shape(lambda X: torch.where((X != 0).any(-1, True).any(-2, True), qr_factor(X), 0), matrices)


def _descends(recipe):
    """Whether its authors stand by it, and no number of its steps turns a singular direction around."""
    steps = range(1, len(recipe.coefficients) + 1)
    return recipe.superseded_by is None and all(recipe.scalar_minimum(each) > 0 for each in steps)


_DIRECT = {"svd": polar_factor, "qr": _qr_factor_or_zero}
ORTHOGONALISERS = (*(name for name, recipe in RECIPES.items() if _descends(recipe)), *_DIRECT)
