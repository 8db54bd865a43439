"""What coverage is left of clean-data conformal sets under attack: bounds for all radii at once."""

import math
from dataclasses import dataclass

import torch
from scipy.special import betaincinv

from ..lipschitz.certificates import check_radius, check_scale
from .predictor import check_examples, check_share
from .split import SplitConformal

FORMS = ("binomial", "dkw")


@dataclass(frozen=True)
class CoverageBounds:
    """Bounds of the coverage under attack, which hold for all radii and all attacks at once.

    Attributes
    ----------
    radii : Tensor (R,) float64
    lower, upper : Tensor (R,) float64
        In [0, 1]: the coverage under any attack within the radius is neither below nor above.
    """

    radii: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor


def vanilla_coverage_bounds(
    predictor, x, y, radii, *, lipschitz_constant=1.0, bound="joint", input_scale=1.0, delta=0.01, form="binomial"
):
    """Bound the coverage of a calibrated predictor's sets under attacks of any radius, by one pass of evaluation data.

    Parameters
    ----------
    predictor : SplitConformal or LipschitzConformal
        Calibrated, with a continuous score. What other predictors compare is no score of the logits with this constant.
    x : Tensor (m, ...)
        m >= 2 inputs that neither training nor calibration has seen.
    y : Tensor (m,)
        Their classes.
    radii : sequence of float
        At least 0, in the Euclidean norm and the units of the inputs.
    lipschitz_constant, bound, input_scale
        As of `LipschitzConformal`.
    delta : float
        Strictly between 0 and 1: how often, over evaluation data, some bound may fail.
    form : {"binomial", "dkw"}
        As of `coverage_bounds`.

    Returns
    -------
    CoverageBounds

    Raises
    ------
    RuntimeError
        Before calibration.
    TypeError, ValueError
        If an argument is none of these.
    """
    if not isinstance(predictor, SplitConformal):
        raise TypeError(
            "predictor must be a SplitConformal or a LipschitzConformal, whose sets compare scores of the logits, got "
            f"{type(predictor).__name__}: its scores are others, which lipschitz_constant doesn't bound."
        )
    slope = predictor.score.lipschitz(lipschitz_constant, bound) * check_scale(input_scale)
    predictor._check_calibrated()
    x, y = check_examples(x, y)
    distances = predictor._excess(predictor.calibration_scores(x, y).double(), y) / slope
    return coverage_bounds(distances, radii, delta=delta, form=form)


def coverage_bounds(distances, radii, *, delta=0.01, form="binomial"):
    """Bound the coverage under attack by certified distances of evaluation examples.

    Parameters
    ----------
    distances : Tensor (m,)
        m >= 2. For each example by how much its true class's score exceeds the threshold, over the score's Lipschitz
        constant: no attack within this distance removes the class from the set, or adds it where it is negative.
    radii : sequence of float
        At least 0.
    delta : float
        Strictly between 0 and 1.
    form : {"binomial", "dkw"}
        How the shares of distances that are at least the radius, and at least minus the radius, are bounded:

        - "binomial": by the theorem, an inverted binomial distribution for each of m - 1 levels, tight near 0 and 1;
        - "dkw": by sqrt(log(2 / delta) / (2 m)), uniformly; tighter in the middle.

    Returns
    -------
    CoverageBounds

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    Massena et al., "Efficient robust conformal prediction via Lipschitz-bounded networks", ICML 2025, theorem 3.3: with
    p = max{p: P(Bin(m, p) <= k) >= delta / (2 m - 2)} for the number k of distances below the radius, the lower bound
    is 1 - p - 1/m; likewise the upper one. Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality",
    Annals of Probability 1990.

    Examples
    --------
    >>> bounds = coverage_bounds(torch.linspace(0.0, 1.0, 1001), [0.0, 0.5])
    >>> bounds.lower
    tensor([0.9869, 0.4286], dtype=torch.float64)
    """
    distances = torch.as_tensor(distances).detach().double()
    if distances.ndim != 1 or len(distances) < 2:
        raise ValueError(f"distances must have shape (m,) with m >= 2, got {tuple(distances.shape)}.")
    if distances.isnan().any():
        raise ValueError("distances must be numbers, got NaN; repair the model, or leave those examples out.")
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(map(repr, FORMS))}, got {form!r}.")
    delta = check_share("delta", delta)
    for radius in radii:
        check_radius(float(radius))
    radii = torch.tensor([float(radius) for radius in radii], dtype=torch.float64, device=distances.device)
    count, ordered = len(distances), distances.sort().values
    # Left insertion points: how many distances are below.
    missed = torch.searchsorted(ordered, radii).double()
    kept = count - torch.searchsorted(ordered, -radii).double()
    if form == "dkw":
        width = math.sqrt(math.log(2 / delta) / (2 * count))
        most_missed, most_kept = missed / count + width, kept / count + width
    else:
        share = delta / (2 * count - 2)
        most_missed, most_kept = (_largest_share(each, count, share) + 1 / count for each in (missed, kept))
    return CoverageBounds(radii, (1 - most_missed).clamp(min=0), most_kept.clamp(max=1))


def _largest_share(successes, count, share):
    """Return max{p: P(Bin(count, p) <= successes) >= share}, a beta quantile, for successes (R,); 1 for all of them."""
    k = successes.cpu().numpy()
    largest = betaincinv(k + 1, (count - k).clip(min=1), 1 - share)
    largest[k == count] = 1.0
    return torch.as_tensor(largest, dtype=torch.float64, device=successes.device)
