"""What maps are like, whether or not they are faithful: stable, smooth, sparse, and where they belong.

None of these figures changes when a map or a score is multiplied by a positive number, and a constant map is good in
none.
"""

import torch

from ..lipschitz.attacks import check_attack
from ..lipschitz.certificates import check_positive
from ..lipschitz.losses import check_number
from ..models.checks import check_integer
from .checks import check_map_values, check_maps
from .draws import batches, normal_like, own_generator
from .maps import saliency, smoothgrad
from .ranks import rank_correlation


def stability(score, explain=saliency, *, radius=36 / 255, draws=20, low=0.0, high=1.0, seed=0):
    """Return how much a map changes in rank with small changes of the image: the mean of 1 - Spearman's correlation.

    Parameters
    ----------
    score : ClassScore
        Of images in the box.
    explain : callable
        One of `MAPS`, or one with options by `functools.partial`: ``explain(score, points, of)``.
    radius : float
        Of the ball, > 0, in the Euclidean norm, in which changes are uniform; then they are clipped to the box.
    draws : int
        Changes of each image, at least 1.
    low, high : float or None
        The box.
    seed : int

    Returns
    -------
    Tensor (N,) float64
        In [0, 2], low for stable maps: 0 where no rank changes. 1 for a map that is the same at all pixels.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these, or the map's shape is wrong.

    Notes
    -----
    Average stability (Bhatt, Weller and Moura, IJCAI 2020) has the distance of maps, which shrinks with the gradient: a
    network of small gradients would win by its scale alone. Ranks have none.
    """
    draws = check_integer("draws", draws, 1)
    check_positive("radius", radius, "36/255 is the default")
    check_attack(score.images, float(radius), low, high)
    found = []
    with score.evaluating():
        maps = check_maps(explain(score, score.images, None), score.images)
        for place, image in enumerate(score.images):
            distances = []
            for some in batches(_nearby(image, radius, draws, low, high, seed, place), score.batch_size):
                moved = check_maps(explain(score, some, place), some).flatten(1)
                distances.append(rank_distance(maps[place].flatten().expand_as(moved), moved))
            found.append(torch.cat(distances).mean())
    return torch.stack(found)


def rank_distance(maps, others):
    """Return 1 - Spearman's correlation of maps (N, ...) with others of the same shape: (N,) float64, in [0, 2].

    1 where a map is the same at all pixels.
    """
    maps, others = check_map_values(maps), check_map_values(others)
    if maps.shape != others.shape:
        raise ValueError(f"maps have the shapes {tuple(maps.shape)} and {tuple(others.shape)}: give the same.")
    return 1 - rank_correlation(maps.flatten(1), others.flatten(1))


def smoothgrad_distance(score, **options):
    """Return `rank_distance` of saliency from SmoothGrad, (N,): low where gradients need no smoothing.

    ``options`` are those of `smoothgrad`. At kinks of a piecewise linear network it measures which side was taken.
    """
    return rank_distance(saliency(score), smoothgrad(score, **options))


def sparseness(maps):
    """Return the Gini index of the absolute values of maps.

    Parameters
    ----------
    maps : Tensor (N, ...)
        Of d >= 1 pixels each.

    Returns
    -------
    Tensor (N,) float64
        In [0, 1 - 1/d]: 0 for equal values, and for a map of zeros; 1 - 1/d if all but one are 0.

    Raises
    ------
    TypeError, ValueError
        If maps aren't finite or no such tensor.

    Notes
    -----
    Hurley and Rickard, "Comparing measures of sparsity", IEEE Transactions on Information Theory, 2009.
    """
    values = check_map_values(maps).flatten(1).abs().sort(1).values
    pixels = values.shape[1]
    values = values / values[:, -1:].where(values[:, -1:] > 0, torch.ones_like(values[:, -1:]))
    weights = 2 * torch.arange(1, pixels + 1, dtype=torch.float64, device=values.device) - pixels - 1
    total = values.sum(1)
    return torch.where(total > 0, values @ weights / (pixels * total.where(total > 0, 1)), 0).clamp(min=0)


def block_share(maps, block, share=0.1):
    """Return which share of a map's most important pixels are in a block.

    Parameters
    ----------
    maps : Tensor (N, ...)
        Of d pixels each; those of the largest absolute value count.
    block : Tensor (N, ...) bool
        As `orthobench.data.null_block_mask` returns it.
    share : float
        In (0, 1]: how many count, of d, rounded, at least 1.

    Returns
    -------
    Tensor (N,) float64
        In [0, 1]; of pixels that are equally important the expected share, as if drawn at random. It is the block's
        share of all pixels for a constant map.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these.
    """
    values = check_map_values(maps).flatten(1).abs()
    if not isinstance(block, torch.Tensor) or block.dtype != torch.bool or block.shape != maps.shape:
        got = f"{block.dtype} {tuple(block.shape)}" if isinstance(block, torch.Tensor) else type(block).__name__
        raise ValueError(f"block must be bool, of the maps' shape {tuple(maps.shape)}, got {got}.")
    share = check_number("share", share, 0, 1, strict=True)
    block = block.flatten(1).to(values.device)
    count = max(1, round(share * values.shape[1]))
    threshold = values.topk(count, dim=1).values[:, -1:]
    above, level = values > threshold, values == threshold
    missing = count - above.sum(1)
    inside = (above & block).sum(1) + missing * (level & block).sum(1).double() / level.sum(1)
    return inside / count


def _nearby(image, radius, draws, low, high, seed, place):
    """Yield points that are uniform in the ball around an image, clipped to the box."""
    generator = own_generator("stability", seed, place)
    for _ in range(draws):
        direction = normal_like(image, generator)
        length = radius * torch.rand(1, generator=generator, dtype=torch.float64).item() ** (1 / image.numel())
        point = image.double() + length * direction / direction.norm()
        # The image is in the box: the nearest point of it is no further from the image.
        yield (point if low is None and high is None else point.clamp(low, high)).to(image.dtype)
