"""Where counterfactuals lead to: the optimal transport of one class to another, and the data of the other class.

At the optimum of the hinge-regularised Kantorovich-Rubinstein loss, the match of x in an optimal plan is on the ray
from x along the gradient: proposition 1 of the paper that `orthobench.explanations.counterfactuals` is from.
"""

import torch
from scipy.optimize import linear_sum_assignment

from .checks import check_finite
from .counterfactuals import check_margin

# Distances that are in memory at a time.
_ENTRIES = 2**24


def transport_plan(sources, targets):
    """Return an optimal plan of transport between as many images of two classes, at Euclidean costs.

    Parameters
    ----------
    sources, targets : Tensor (n, ...)

    Returns
    -------
    Tensor (n,) int64
        The place in `targets` of the match of each source: the permutation with the least sum of distances.

    Raises
    ------
    TypeError, ValueError
        If they aren't equally many finite points of one shape.
    """
    _check_points(sources=sources, targets=targets)
    if sources.shape != targets.shape or not sources.numel():
        raise ValueError(
            f"sources and targets must have one shape (n, ...), got {tuple(sources.shape)} and {tuple(targets.shape)}; "
            "take as many of the one class as of the other."
        )
    _, matches = linear_sum_assignment(_distances(sources, targets).cpu().numpy())
    return torch.as_tensor(matches, device=sources.device)


def transport_cosine(score, matches):
    """Return the cosine of -grad s with the way from each image to its match: 1 on the rays of the optimum.

    Parameters
    ----------
    score : ClassScore
        Of margins: of images of one class, with the rivals all of the other.
    matches : Tensor (N, channels, ...)
        As ``targets[transport_plan(score.images, targets)]``.

    Returns
    -------
    Tensor (N,) float64
        0 where the gradient is 0, NaN where the match is the image.
    """
    check_margin(score)
    matches, _ = score.check_points(matches)
    return _cosine(-score.gradients(score.images)[1], matches.double() - score.images.double())


def transport_cosine_of_means(images, matches):
    """Return the cosine of the difference of the means of two classes with the way from each image to its match.

    The rival of `transport_cosine`: it knows nothing of an image, and is hard to beat.

    Parameters
    ----------
    images, matches : Tensor (N, ...)

    Returns
    -------
    Tensor (N,) float64
        NaN where the match is the image.
    """
    if images.shape != matches.shape:
        raise ValueError(
            f"images and matches have the shapes {tuple(images.shape)} and {tuple(matches.shape)}: give one."
        )
    ways = matches.double() - images.double()
    return _cosine(ways.mean(0, keepdim=True).expand_as(ways), ways)


def nearest_class(points, images, labels):
    """Return the labels of the nearest of some images, by the Euclidean distance.

    Parameters
    ----------
    points : Tensor (n, ...)
    images : Tensor (M, ...)
        M >= 1: the training images, best of all.
    labels : Tensor (M,)

    Returns
    -------
    Tensor (n,)
        Of the first of several equally near ones.

    Raises
    ------
    TypeError, ValueError
        If they aren't finite, or the shapes don't fit.

    Notes
    -----
    Where `newton_points` of reach 2 have the class of the rival (``nearest_class(...) == score.rivals``), the
    counterfactual is nearer to data of that class than to any other.
    """
    _check_points(points=points, images=images)
    if points.shape[1:] != images.shape[1:] or labels.shape != images.shape[:1] or not len(images):
        raise ValueError(
            f"points, images and labels must have shapes (n, ...), (M, ...) and (M,) with M >= 1, got "
            f"{tuple(points.shape)}, {tuple(images.shape)} and {tuple(labels.shape)}."
        )
    rows = max(1, _ENTRIES // len(images))
    nearest = [_distances(some, images).argmin(1) for some in points.split(rows)]
    return labels[torch.cat(nearest).to(labels.device)]


def _check_points(**tensors):
    for name, points in tensors.items():
        if not isinstance(points, torch.Tensor) or not points.is_floating_point() or points.ndim < 2:
            got = f"{points.dtype} {tuple(points.shape)}" if isinstance(points, torch.Tensor) else type(points).__name__
            raise TypeError(f"{name} must be a floating-point tensor (n, ...), got {got}; convert them by .float().")
        check_finite(name, points)


def _distances(points, others):
    # Not by products, which lose the digits that tell near points apart.
    return torch.cdist(
        points.double().flatten(1), others.double().flatten(1), compute_mode="donot_use_mm_for_euclid_dist"
    )


def _cosine(directions, ways):
    directions, ways = directions.flatten(1), ways.flatten(1)
    lengths, distances = directions.norm(dim=1), ways.norm(dim=1)
    cosines = torch.where(lengths > 0, (directions * ways).sum(1) / (lengths * distances), 0).clamp(-1, 1)
    return torch.where(distances > 0, cosines, torch.nan)
