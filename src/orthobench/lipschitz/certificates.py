"""Certified radii, certified accuracy and certified AUROC of networks with a known Lipschitz constant.

All for the Euclidean norm, and in float64 whatever the type of the logits.
"""

import math
from numbers import Real

import torch

from .bounds.jacobian import NETWORK_TOLERANCE, dtype_and_device, evaluating, float64_copy

_SQRT_2 = math.sqrt(2)
_BOUNDS = ("joint", "per_output", "head")
# How many eps of the largest logit each logit is taken to be wrong by, at most: sums of half-precision numbers are
# rounded once, those of float32 at each term.
ROUNDING_UNITS = {torch.float64: 0, torch.float32: 64, torch.float16: 8, torch.bfloat16: 8}


def margin(logits, labels):
    """Return by how much the logit of the label exceeds all others.

    Parameters
    ----------
    logits : Tensor (N, C)
        Of any floating-point type, C >= 2.
    labels : Tensor (N,)
        Integers in 0..C - 1.

    Returns
    -------
    Tensor (N,) float64
        Negative where another class is predicted. Differentiable.

    Raises
    ------
    TypeError, ValueError
        If the shapes or types are others, a label is out of range, or a logit is NaN or infinite.
    """
    return _margins(logits, labels).min(1).values


def _margins(logits, labels):
    """Return the logit of the label minus each logit, (N, C) float64, with infinity for the label itself."""
    labels = check_labels(logits, labels)
    if not logits.isfinite().all():
        bad = (~logits.isfinite()).any(1).nonzero()[0].item()
        raise ValueError(
            f"logits must be finite, got {logits[bad].tolist()} for example {bad}: nothing can be certified; "
            "evaluate it in a wider type, or count the example as wrong."
        )
    logits = logits.double()
    differences = logits.gather(1, labels[:, None]) - logits
    return differences.scatter(1, labels[:, None], math.inf)


def check_labels(logits, labels):
    """Return the labels as int64; raise TypeError or ValueError unless they fit logits (N, C)."""
    for name, tensor in (("logits", logits), ("labels", labels)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(
                f"{name} must be a torch.Tensor, got {type(tensor).__name__}; convert it by torch.as_tensor."
            )
    if logits.dtype not in ROUNDING_UNITS:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in ROUNDING_UNITS)
        raise TypeError(f"logits must be of dtype {allowed}, got {logits.dtype}; convert them by .double().")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be of an integer type, got {labels.dtype}; convert them by .long().")
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits and labels must have shapes (N, C) and (N,) with C >= 2, got {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}; for one score see certified_auroc."
        )
    classes = logits.shape[1]
    if labels.numel() and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels must be in 0..{classes - 1} for {classes} logits, got {labels.min().item()} to "
            f"{labels.max().item()}; number the classes from 0."
        )
    return labels.to(logits.device, torch.int64)


def certified_radius(
    logits, labels, lipschitz_constant=1.0, bound="joint", head_weight=None, input_scale=1.0, *, rounding=None
):
    """Return the radius within which no change of the input makes another class win.

    Parameters
    ----------
    logits : Tensor (N, C)
        Of the network on the clean inputs, of any floating-point type.
    labels : Tensor (N,)
        The right classes.
    lipschitz_constant : float
        L > 0, of the network as a function of what it is given; with "head", of all before the last linear layer.
    bound : {"joint", "per_output", "head"}
        What L bounds, and the radius for the margin m, or m_k over class k:

        - "joint": the network, R^n to R^C: m / (sqrt(2) L);
        - "per_output": each logit on its own: m / (2 L);
        - "head": the features before a linear last layer with rows w: min over k of m_k / (||w_y - w_k|| L).
    head_weight : Tensor (C, features)
        Of the last layer; with "head" only.
    input_scale : float or sequence of float
        What the network multiplies its inputs by before L counts, > 0: 1/std of a normalisation. Of several, one for
        each channel, the largest counts. Radii are in units of the inputs, before that.
    rounding : float or Tensor (N,), optional
        A bound on the error of each logit, at any input, in units of the logits. See Notes.

    Returns
    -------
    Tensor (N,) float64
        In units of the input. 0 where the label doesn't win, or not by more than rounding may account for. Infinity if
        nothing can change the prediction (with "head", for equal rows).

    Raises
    ------
    TypeError, ValueError
        If logits or labels don't fit or aren't finite, L or a scale isn't a finite number above 0, the rounding isn't
        finite or negative, the bound is unknown, or head_weight is missing, superfluous or of another shape.

    Notes
    -----
    Differences f_y - f_k are sqrt(2) L-Lipschitz if f is L-Lipschitz, 2 L-Lipschitz if each of its outputs is, and
    ||w_y - w_k|| L-Lipschitz if f = W g + b with an L-Lipschitz g. Joint: Tsuzuku, Sato and Sugiyama, "Lipschitz-margin
    training", NeurIPS 2018, proposition 1; head: Singla, Singla and Feizi, "Improved deterministic l2 robustness", ICLR
    2022, section 4 (last layer normalisation).

    Rounding makes the network that is evaluated another function than the one with the constant L, and a discontinuous
    one. If each logit is wrong by at most B, a difference is wrong by at most R = 2 B, at the clean input and at the
    attacked one: the evaluated network's prediction stays if m > 2 R. So 2 R is subtracted from m. By default B is,
    times the largest |f_k| of the example,

        64 eps = 2^-17 (float32),    8 eps = 2^-7 (float16), 2^-4 (bfloat16),    0 (float64).

    That is an allowance, no proof: it is at least twice the error of the 1-Lipschitz networks in the tests, of up to 17
    layers, but errors grow with the activations, which may be larger than the logits by any factor. Where it matters,
    give a bound of your own; `logit_rounding` measures one.

    Examples
    --------
    >>> certified_radius(torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64), torch.tensor([0, 0]))
    tensor([1.4142, 0.0000], dtype=torch.float64)
    """
    check_positive("lipschitz_constant", lipschitz_constant, "it is what an upper bound returned")
    if bound not in _BOUNDS:
        raise ValueError(
            f"bound must be one of {', '.join(map(repr, _BOUNDS))}, got {bound!r}; 'joint' is the default."
        )
    scale = check_scale(input_scale)
    differences = _margins(logits, labels)
    error = _logit_errors(logits, rounding)
    labels = labels.to(logits.device, torch.int64)
    slopes = _head_slopes(logits, labels, bound, head_weight) * (lipschitz_constant * scale)
    # 0 / 0 of equal logits and rows is no certificate, and neither is what rounding may account for.
    certain = (differences - 4 * error[:, None]).clamp(min=0)
    radii = torch.where(certain > 0, certain / slopes, 0)
    return radii.min(1).values


def _head_slopes(logits, labels, bound, head_weight):
    """Return how fast f_y - f_k can change, for a constant of 1, as a tensor that broadcasts to (N, C)."""
    if bound != "head":
        if head_weight is not None:
            raise ValueError(f"head_weight is for bound='head' alone, got it with {bound!r}; leave it out.")
        return torch.tensor(_SQRT_2 if bound == "joint" else 2.0, dtype=torch.float64, device=logits.device)
    if not isinstance(head_weight, torch.Tensor):
        raise TypeError(
            "bound='head' needs head_weight, the weight (C, features) of the last layer, got "
            f"{type(head_weight).__name__}; give that tensor."
        )
    if head_weight.ndim != 2 or len(head_weight) != logits.shape[1]:
        raise ValueError(
            f"head_weight must have shape ({logits.shape[1]}, features), one row for each logit, got "
            f"{tuple(head_weight.shape)}; give the weight of the last layer."
        )
    if not head_weight.isfinite().all():
        raise ValueError("head_weight must be finite, got NaN or infinity; nothing can be certified with it.")
    weight = head_weight.detach().to(logits.device).double()
    # Not torch.cdist, which takes a faster, less exact formula for large matrices.
    return (weight[labels][:, None] - weight).norm(dim=2)


def _logit_errors(logits, rounding):
    """Return the bound (N,) of each example's logits' error."""
    if rounding is None:
        units = ROUNDING_UNITS[logits.dtype] * torch.finfo(logits.dtype).eps
        return units * logits.detach().double().abs().max(1).values
    error = torch.as_tensor(rounding, dtype=torch.float64, device=logits.device)
    if error.ndim and error.shape != logits.shape[:1]:
        raise ValueError(f"rounding must be a number or of shape ({len(logits)},), got {tuple(error.shape)}.")
    if not (error.isfinite() & (error >= 0)).all():
        raise ValueError(f"rounding must be finite and at least 0, got {rounding!r}; 0 claims exact logits.")
    return error.expand(len(logits))


@torch.no_grad()
def logit_rounding(model, inputs, safety=2.0):
    """Measure how far a network's logits are from those of itself in float64.

    Parameters
    ----------
    model : torch.nn.Module
        In any floating-point type. Evaluated in eval mode.
    inputs : Tensor (N, ...)
        N >= 1. Clean and attacked ones, best of all.
    safety : float
        At least 1. What the largest difference found is multiplied by: it was found at some inputs only.

    Returns
    -------
    float
        For the `rounding` of `certified_radius`. A measurement, no proof.

    Raises
    ------
    ValueError
        If the model has no copy in float64 that agrees with it, there is no input, or `safety` is below 1.
    """
    if not safety >= 1:
        raise ValueError(f"safety must be at least 1, got {safety!r}; 2 is the default.")
    if len(inputs) == 0:
        raise ValueError("inputs must hold at least one example, got none.")
    copy = float64_copy(model, inputs.shape[1:], NETWORK_TOLERANCE)
    if copy is None:
        raise ValueError(
            f"{type(model).__name__} can't be evaluated in float64 with the same result; give certified_radius a bound "
            "on the rounding of your own."
        )
    dtype, device = dtype_and_device(model)
    inputs = inputs.to(device, dtype)
    with evaluating(model):
        differences = model(inputs).double() - copy(inputs.double())
    return safety * differences.abs().max().item()


def certified_accuracy(radii, radius):
    """Return the share of examples whose certified radius exceeds a radius.

    Parameters
    ----------
    radii : Tensor (N,)
        As `certified_radius` returns them, N >= 1.
    radius : float or sequence of float
        At least 0. At 0 it is the share of those that are right, by more than rounding accounts for.

    Returns
    -------
    float, or list of float for a sequence

    Raises
    ------
    TypeError, ValueError
        If a radius is negative or NaN, or there are no radii.

    Examples
    --------
    >>> certified_accuracy(torch.tensor([0.0, 0.1, 0.3]), [0, 0.2])
    [0.6666666666666666, 0.3333333333333333]
    """
    radii = torch.as_tensor(radii)
    if radii.ndim != 1 or len(radii) == 0:
        raise ValueError(
            f"radii must have shape (N,) with N >= 1, got {tuple(radii.shape)}; give one for each example."
        )
    if not (radii >= 0).all():
        raise ValueError("radii must be at least 0, got a negative one or NaN; 0 stands for no certificate.")
    radii = radii.double()
    if isinstance(radius, Real):
        check_radius(radius)
        return (radii > float(radius)).double().mean().item()
    return [certified_accuracy(radii, float(each)) for each in radius]


def certified_auroc(scores, is_inlier, radius, lipschitz_constant=1.0):
    """Return the area under the ROC curve when each score is moved as far to the wrong side as an attack can move it.

    Scores are high for inliers. Within the radius r an inlier's falls by at most L r and an outlier's rises by as much:
    the area cannot be smaller under any attack.

    Parameters
    ----------
    scores : Tensor (N,)
        Finite.
    is_inlier : Tensor (N,)
        bool, or 0 and 1. Both must occur.
    radius : float
        r, at least 0.
    lipschitz_constant : float
        L > 0, of the score as a function of the input.

    Returns
    -------
    float
        Probability that an inlier's moved score exceeds an outlier's; a tie counts as a half.

    Raises
    ------
    TypeError, ValueError
        If the arguments are none of these.

    Notes
    -----
    Bethune, Novello, Coiffier, Boissin, Serrurier, Vincenot and Troya-Galvis, "Robust one-class classification with
    signed distance function using 1-Lipschitz neural networks", ICML 2023, section 3.

    Examples
    --------
    >>> certified_auroc(torch.tensor([1.0, 0.2, 0.0]), torch.tensor([True, True, False]), radius=0.2)
    0.5
    """
    check_radius(radius)
    check_positive("lipschitz_constant", lipschitz_constant, "1 is the default")
    scores, is_inlier = torch.as_tensor(scores), torch.as_tensor(is_inlier)
    if scores.ndim != 1 or is_inlier.shape != scores.shape:
        raise ValueError(
            f"scores and is_inlier must both have shape (N,), got {tuple(scores.shape)} and {tuple(is_inlier.shape)}; "
            "flatten them."
        )
    if not scores.isfinite().all():
        raise ValueError("scores must be finite, got NaN or infinity; leave those examples out, or repair the model.")
    if not ((is_inlier == 0) | (is_inlier == 1)).all():
        raise ValueError(
            "is_inlier must be True and False, or 1 and 0, got other values; compare the label with the class."
        )
    inside = is_inlier.to(scores.device).bool()
    if inside.all() or not inside.any():
        raise ValueError(
            f"is_inlier must hold both inliers and outliers, got {int(inside.sum())} of {len(inside)} inliers."
        )
    shift = radius * lipschitz_constant
    inliers = scores.double()[inside] - shift
    outliers = (scores.double()[~inside] + shift).sort().values
    below = torch.searchsorted(outliers, inliers)
    not_above = torch.searchsorted(outliers, inliers, right=True)
    wins = (below + not_above).double().sum().item() / 2
    return wins / (len(inliers) * len(outliers))


def check_radius(radius):
    """Raise TypeError or ValueError unless a radius is a finite number, at least 0."""
    if not isinstance(radius, Real) or isinstance(radius, bool):
        raise TypeError(f"radius must be a number, got {radius!r} ({type(radius).__name__}); 36/255 is the usual one.")
    if not 0 <= radius < math.inf:
        raise ValueError(f"radius must be a finite number >= 0, got {radius!r}; 36/255 is the usual one.")


def check_positive(name, value, remedy):
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__}); {remedy}.")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number > 0, got {value!r}; {remedy}.")


def check_scale(input_scale):
    """Return the largest of the scales."""
    scales = [input_scale] if isinstance(input_scale, Real) else list(input_scale)
    if not scales:
        raise ValueError("input_scale must be a number or one for each channel, got none; 1 is the default.")
    for scale in scales:
        scale = scale.item() if isinstance(scale, torch.Tensor) else scale
        check_positive("input_scale", scale, "it is 1/std of the normalisation, the largest of the channels")
    return max(float(scale) for scale in scales)
