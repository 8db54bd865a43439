"""The published Newton-Schulz recipes: which polynomials, in which order, after which normalisation."""

from dataclasses import dataclass
from numbers import Integral
from types import MappingProxyType

PRECONDITIONERS = (None, "aol")


@dataclass(frozen=True)
class Recipe:
    """A Newton-Schulz iteration.

    Attributes
    ----------
    name : str
        Identifier, as passed to `newton_schulz`.
    title : str
        Published name.
    coefficients : tuple of (float, float, float)
        One triple (a, b, c) a step: X <- a X + b (X X^T) X + c (X X^T)^2 X.
    preconditioner : None or "aol"
        How singular values are brought into [0, 1] before the first step: None divides by the Frobenius norm, "aol"
        scales the rows (see `aol_rescale`).
    source : str
        Citation.
    """

    name: str
    title: str
    coefficients: tuple[tuple[float, float, float], ...]
    preconditioner: str | None
    source: str

    def __post_init__(self):
        if not self.coefficients or any(len(triple) != 3 for triple in self.coefficients):
            raise ValueError(
                f"coefficients of recipe {self.name!r} must be one or more triples (a, b, c), "
                f"got {self.coefficients!r}; give one triple a step."
            )
        if self.preconditioner not in PRECONDITIONERS:
            raise ValueError(
                f"preconditioner of recipe {self.name!r} must be one of {PRECONDITIONERS}, "
                f"got {self.preconditioner!r}; use None for the Frobenius norm."
            )

    def polynomials(self, steps=None):
        """Return the triples of the first `steps` steps.

        A recipe that repeats one triple can be run for any number of steps; one whose triples differ only as far as
        they go. None means all of the recipe's steps.
        """
        length = len(self.coefficients)
        if steps is None:
            return self.coefficients
        repeats_one_triple = len(set(self.coefficients)) == 1
        is_integer = isinstance(steps, Integral) and not isinstance(steps, bool)
        if not is_integer or steps < 1 or (steps > length and not repeats_one_triple):
            allowed = "an integer >= 1" if repeats_one_triple else f"an integer from 1 to {length}"
            raise ValueError(
                f"steps must be {allowed} for recipe {self.name!r}, got {steps!r}; "
                f"leave it at None for the {length} published steps."
            )
        if repeats_one_triple:
            return self.coefficients[:1] * int(steps)
        return self.coefficients[:steps]


_JORDAN = (3.4445, -4.7750, 2.0315)
_FIVE_DISTINCT = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)

_PUBLISHED = (
    Recipe(
        name="muon",
        title="Muon",
        coefficients=(_JORDAN,) * 5,
        preconditioner=None,
        source="Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks",
    ),
    Recipe(
        name="airbench",
        title="Muon (airbench, 3 steps)",
        coefficients=(_JORDAN,) * 3,
        preconditioner=None,
        source="Jordan (2024), 94% on CIFAR-10 in 3.29 seconds on a single GPU, arXiv:2404.00498, code with Muon",
    ),
    Recipe(
        name="muon_plus",
        title="Muon+",
        coefficients=_FIVE_DISTINCT,
        preconditioner=None,
        source="Coefficients by You (2024), used as Muon+ by Boissin et al. (2025), Turbo-Muon, arXiv:2512.04632",
    ),
    Recipe(
        name="turbo_muon",
        title="Turbo-Muon",
        coefficients=_FIVE_DISTINCT[1:],
        preconditioner="aol",
        source="Boissin et al. (2025), Turbo-Muon: accelerating orthogonality-based optimization with "
        "pre-conditioning, arXiv:2512.04632; rescaling of Prach & Lampert (2022), arXiv:2208.03160",
    ),
)

RECIPES = MappingProxyType({recipe.name: recipe for recipe in _PUBLISHED})


def get_recipe(recipe):
    """Return `recipe` itself if it is a `Recipe`, otherwise the published one of that name."""
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, str) and recipe in RECIPES:
        return RECIPES[recipe]
    raise ValueError(
        f"recipe must be one of {', '.join(map(repr, RECIPES))} or a Recipe, got {recipe!r}; "
        "build an orthobench.linalg.Recipe for coefficients of your own."
    )
