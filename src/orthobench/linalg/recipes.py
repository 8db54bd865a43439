"""The published Newton-Schulz recipes: which polynomials, in which order, after which normalisation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

import torch

from .polynomials import divide_argument, evaluate, image, polar_express_coefficients

PRECONDITIONERS = (None, "aol")
KEPT = ("first", "last")
# Where a normalisation leaves singular values: rounding in bfloat16 moves the largest to 1.02 at most, and those below
# contribute nothing to a descent.
SINGULAR_VALUES = (1e-4, 1.02)


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
        One triple (a, b, c) a step: X <- a X + b (X X^T) X + c (X X^T)^2 X. Steps with c = 0 need a product less.
    preconditioner : None or "aol"
        How singular values are brought into [0, 1] before the first step: None divides by the Frobenius norm, "aol"
        scales the rows (see `aol_rescale`).
    source : str
        Citation.
    safety : float
        The normalisation divides by 1 + `safety` too, so that rounding leaves no singular value above 1.
    superseded_by : str or None
        The name of the recipe that its authors replaced it with.
    keeps : {"first", "last"}
        Which of its polynomials fewer steps are.
    """

    name: str
    title: str
    coefficients: tuple[tuple[float, float, float], ...]
    preconditioner: str | None
    source: str
    safety: float = 0.0
    superseded_by: str | None = None
    keeps: str = "first"

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
        if not 0 <= self.safety < math.inf:
            raise ValueError(f"safety of recipe {self.name!r} must be a finite number >= 0, got {self.safety!r}.")
        if self.keeps not in KEPT:
            raise ValueError(f"keeps of recipe {self.name!r} must be one of {KEPT}, got {self.keeps!r}.")

    def polynomials(self, steps=None):
        """Return the triples of `steps` steps, the first or the last ones (see `keeps`).

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
        return self.coefficients[:steps] if self.keeps == "first" else self.coefficients[-steps:]

    def scalar_map(self, s, steps=None):
        """Return what `steps` steps in exact arithmetic make of singular values.

        Parameters
        ----------
        s : array_like
            Singular values, in units of the Frobenius norm; for an "aol" recipe, those of the rescaled matrix.
        steps : int, optional
            As in `polynomials`.

        Returns
        -------
        Tensor
            Of float64 and the shape of `s`.
        """
        s = torch.as_tensor(s, dtype=torch.float64) / (1 + self.safety)
        for triple in self.polynomials(steps):
            s = evaluate(triple, s)
        return s

    def scalar_maximum(self, steps=None):
        """Return the maximum of `scalar_map` on [0, 1]: without rounding, no singular value ends above it."""
        return self._image(0.0, 1.0, steps)[1]

    def scalar_minimum(self, steps=None):
        """Return the minimum of `scalar_map` on `SINGULAR_VALUES`, to which rounding may move them.

        Where it is negative, the recipe turns some singular directions around: steps along what it makes of a gradient
        go uphill.
        """
        return self._image(*SINGULAR_VALUES, steps)[0]

    def _image(self, low, high, steps):
        low, high = low / (1 + self.safety), high / (1 + self.safety)
        for triple in self.polynomials(steps):
            low, high = image(triple, low, high)
        return low, high


_JORDAN = (3.4445, -4.7750, 2.0315)
_FIVE_DISTINCT = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)

_CLASSIC = (2.0, -1.5, 0.5)
_CUBIC = (
    (3.3656576, -3.3420992, 0.0),
    (2.5744352, -1.4957376, 0.0),
    (2.5368962, -1.4312570, 0.0),
    (2.4418906, -1.2764040, 0.0),
    (2.2230472, -0.9630650, 0.0),
)
_CANS = (
    (8.4703, -25.1081, 18.6293),
    (4.1828, -3.1087, 0.5806),
    (3.9619, -2.9541, 0.5630),
    (3.2866, -2.4647, 0.5074),
    (2.2737, -1.6447, 0.4162),
)
# As published, without a safety factor, CANS takes singular values of wide matrices above 1e6 in bfloat16: in
# measurements 0.0025 is not enough and 0.005 is. The cubic polynomials turn around what exceeds 1.004 at the first step
# and the maximum by 1 % at the second: 0.0085 is the least factor that keeps `SINGULAR_VALUES` positive. 0.01 raises
# the errors by at most 7 % in float32.
_SAFETY = 0.01


def _safe(coefficients):
    """Return the triples with the argument of each polynomial but the last divided by 1 + `_SAFETY`."""
    return *(divide_argument(triple, 1 + _SAFETY) for triple in coefficients[:-1]), coefficients[-1]


_TURBO_MUON = (
    "Boissin et al. (2025), Turbo-Muon: accelerating orthogonality-based optimization with pre-conditioning, "
    "arXiv:2512.04632; rescaling of Prach & Lampert (2022), arXiv:2208.03160"
)
_AMSEL = (
    "Amsel, Persson, Musco & Gower (2025), The Polar Express: optimal matrix sign methods and their application to the "
    "Muon algorithm, arXiv:2505.16932"
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
        name="you5",
        title="You's five quintics",
        coefficients=_FIVE_DISTINCT,
        preconditioner=None,
        source="Coefficients by You (2024), called Muon+ by Boissin et al. (2025), Turbo-Muon, arXiv:2512.04632; the "
        "Muon+ of arXiv:2602.21545 is another method",
    ),
    Recipe(
        name="turbo_muon",
        title="Turbo-Muon",
        coefficients=_FIVE_DISTINCT[1:],
        preconditioner="aol",
        source=_TURBO_MUON,
    ),
    Recipe(
        name="turbo_muon_last",
        title="Turbo-Muon (fewer steps are the last)",
        coefficients=_FIVE_DISTINCT[1:],
        preconditioner="aol",
        source=f"{_TURBO_MUON}; the authors' code takes the last k of its coefficients for k steps",
        keeps="last",
    ),
    Recipe(
        name="turbo_muon_5",
        title="Turbo-Muon (5 steps)",
        coefficients=_FIVE_DISTINCT,
        preconditioner="aol",
        source=f"All five of You's coefficients after the rescaling of {_TURBO_MUON}",
    ),
    Recipe(
        name="turbo_muon_v0",
        title="Turbo-Muon (September 2025)",
        coefficients=(
            (4.6051, -9.6552, 5.6769),
            (4.7505, -6.0861, 2.1790),
            (2.7763, -2.3190, 0.5523),
            (2.4231, -2.2861, 0.8193),
        ),
        preconditioner="aol",
        source=f"First coefficients, found by a genetic algorithm, still in microsoft/dion; {_TURBO_MUON}",
        superseded_by="turbo_muon",
    ),
    Recipe(
        name="turbo_muon_v1",
        title="Turbo-Muon (second coefficients)",
        coefficients=(
            (4.0098, -7.0585, 2.4635),
            (3.4585, -5.5479, 2.5959),
            (2.7573, -3.2939, 1.4254),
            (2.7215, -3.0494, 1.3169),
        ),
        preconditioner="aol",
        source=f"Second coefficients, in NVIDIA Emerging-Optimizers (there without rescaling); {_TURBO_MUON}",
        superseded_by="turbo_muon",
    ),
    Recipe(
        name="classic",
        title="Newton-Schulz (2, -1.5, 0.5)",
        coefficients=(_CLASSIC,) * 12,
        preconditioner=None,
        source="Jordan et al., optimizer track of modded-nanogpt, where 12 steps stand for the polar factor",
    ),
    Recipe(
        name="polar_express",
        title="Polar Express",
        coefficients=polar_express_coefficients(steps=5, safety=0.02),
        preconditioner=None,
        source=f"{_AMSEL}; parameters of modded-nanogpt and dion",
        safety=0.02,
    ),
    Recipe(
        name="polar_express_8",
        title="Polar Express (8 steps)",
        coefficients=polar_express_coefficients(steps=8, safety=0.01),
        preconditioner=None,
        source=f"{_AMSEL}; parameters of the authors' program",
        safety=0.01,
    ),
    Recipe(
        name="cans",
        title="CANS",
        coefficients=_safe(_CANS),
        preconditioner=None,
        source="Grishina, Smirnov & Rakhuba (2025), Accelerating Newton-Schulz iteration for orthogonalization via "
        "Chebyshev-type polynomials, arXiv:2506.10935; list of NVIDIA Emerging-Optimizers, with a safety factor added",
        safety=_SAFETY,
    ),
    Recipe(
        name="cubic5",
        title="Relaxed cubic (5 steps)",
        coefficients=_safe(_CUBIC),
        preconditioner=None,
        source="arXiv:2606.00371; list of NVIDIA Emerging-Optimizers, with a safety factor added",
        safety=_SAFETY,
    ),
    Recipe(
        name="deepseek_v4",
        title="DeepSeek-V4 (8 + 2 steps)",
        coefficients=(*(_JORDAN,) * 8, *(_CLASSIC,) * 2),
        preconditioner=None,
        source="DeepSeek-AI (2026), DeepSeek-V4: towards highly efficient million-token context intelligence",
    ),
)


class _Recipes(Mapping):
    """Recipes by name; earlier names lead to them too, and aren't listed."""

    def __init__(self, recipes, earlier):
        self._by_name, self._earlier = {recipe.name: recipe for recipe in recipes}, earlier

    def __getitem__(self, name):
        return self._by_name[self._earlier.get(name, name)]

    def __contains__(self, name):
        return name in self._by_name or name in self._earlier

    def __iter__(self):
        return iter(self._by_name)

    def __len__(self):
        return len(self._by_name)


RECIPES = _Recipes(_PUBLISHED, {"muon_plus": "you5"})


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
