"""Are maps faithful to the score: do the pixels that they name change it?

Public implementations reward maps that say nothing: by sets of pixels of random size, by areas in units of the logits'
scale, by an order of equal pixels that depends on their place. Of these, all give 0 to a constant map, and to
`random_maps` in expectation, and none changes when a map or a score is multiplied by a positive number.

Each image has a figure of its own, that doesn't depend on the other images, and random numbers of its own, that don't
depend on the model or the map: comparisons are paired.
"""

from typing import NamedTuple

import torch

from ..lipschitz.losses import check_number
from ..models.checks import check_integer
from .baselines import check_baseline
from .checks import check_several_maps
from .draws import batches, own_generator
from .ranks import descending, rank_correlation


def mu_fidelity(score, maps, baseline, *, size=0.2, subsets=200, seed=0):
    """Return how well sums of a map over sets of pixels foretell by how much the score falls without them.

    Spearman's correlation over random sets S of k pixels of: the sum of the map over S, and v(x) - v(x with S of x0).

    Parameters
    ----------
    score : ClassScore
        v, of images with d >= 2 pixels.
    maps : Tensor (N, ...) or list of Tensor
        One number for each pixel of the score's images. Of several maps the sets, and what the score falls by without
        them, are the same, and computed once.
    baseline : Tensor
        x0: (N, channels, ...) or what broadcasts to it; see `make_baseline`.
    size : float
        k / d, in (0, 1]; k is rounded, and from 1 to d - 1.
    subsets : int
        At least 2.
    seed : int

    Returns
    -------
    Tensor (N,) float64, or (m, N) of a list of m maps
        In [-1, 1], high for a faithful map: 1 for gradient times input of a linear score with x0 = 0. 0 for a map, or
        a score, by which all sets are equal.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these.

    Notes
    -----
    Bhatt, Weller and Moura, "Evaluating and aggregating feature-based model explanations", IJCAI 2020. All sets have
    the same size: where it varies, the fall of the score and the sum of any positive map grow with it, and a constant
    map gets up to 0.6.
    """
    single = isinstance(maps, torch.Tensor)
    maps = check_several_maps(maps, score.images).flatten(2)  # (m, N, d)
    baseline = check_baseline(baseline, score.images)
    subsets = check_integer("subsets", subsets, 2)
    pixels = maps.shape[2]
    chosen = _subset_size(size, pixels)
    found = []
    with score.evaluating():
        values = score.values(score.images)
        for place, (image, other) in enumerate(zip(score.images, baseline, strict=True)):
            own_maps = maps[:, place]
            centred = (own_maps - own_maps.mean(1, keepdim=True)).mT
            sums, falls = [], []
            for masks in batches(_subsets(subsets, chosen, pixels, seed, place), score.batch_size):
                masks = masks.to(image.device)
                copies = _replaced(image, other, masks)
                sums.append(masks.double() @ centred)
                falls.append(values[place] - score.values(copies, place))
            # Sums that are equal but for rounding, as those of a constant map, are equal.
            rounding = 4 * pixels * torch.finfo(torch.float64).eps * own_maps.abs().amax(1, keepdim=True)
            sums, falls = torch.cat(sums).mT, torch.cat(falls)
            found.append(rank_correlation(sums, falls.expand_as(sums), rounding))
    found = torch.stack(found, dim=1)
    return found[0] if single else found


class Gains(NamedTuple):
    """By how much an order of pixels is better than random ones, as areas under curves of the score.

    Attributes
    ----------
    area : Tensor (N,), or (m, N) of a list of m maps
        Under the curve of the map's order, over the share of pixels, in units of the score.
    random : Tensor (N,)
        The mean area of random orders, of the same model and image.
    unit : Tensor (N,)
        v(x) - v(x0), by which the areas are divided.
    sign : float
        -1 where a small area is good.
    curve, random_curve : Tensor (N, k), or (m, N, k)
        The curves of these areas, means over ties and over random orders.
    shares : Tensor (k,)
        Of the pixels that are replaced, from 0 to 1.
    """

    area: torch.Tensor
    random: torch.Tensor
    unit: torch.Tensor
    sign: float
    curve: torch.Tensor
    random_curve: torch.Tensor
    shares: torch.Tensor

    @property
    def gain(self):
        """Of each image, as `area`: sign (area - random) / unit, high for a faithful map; NaN where no unit is > 0."""
        return torch.where(self.unit > 0, self.sign * (self.area - self.random) / self.unit, torch.nan)

    def mean(self):
        """Return the mean gain of the images with a positive unit, weighted by it; NaN if there is none.

        Without the weights, one image whose score x0 hardly changes would decide.

        Returns
        -------
        float, or Tensor (m,) of a list of m maps
        """
        found = self._mean(self.sign * (self.area - self.random))
        return float(found) if found.ndim == 0 else found

    def mean_curves(self):
        """Return the mean curve of a map, (k,) or (m, k), and that of random orders (k,): 0 at x0, and 1 at x.

        The area between them is the mean gain.
        """
        return tuple(self._mean((each - self._lowest).mT) for each in (self.curve, self.random_curve))

    @property
    def _lowest(self):
        """v(x0), (N, 1)."""
        return self.random_curve[:, -1:] if self.sign < 0 else self.random_curve[:, :1]

    def _mean(self, values):
        """Return the sum of values (..., N) of the images with a positive unit, as a share of the sum of these."""
        counted = self.unit > 0
        return values[..., counted].sum(-1) / self.unit[counted].sum()


def deletion_gain(score, maps, baseline, *, steps=10, ties=5, random_orders=10, seed=0):
    """Return how much faster the score falls when pixels become x0 in a map's order than in random orders.

    Parameters
    ----------
    score, maps, baseline
        As of `mu_fidelity`.
    steps : int
        At least 1. The score is computed at so many shares of the pixels, as even as whole pixels can be, and at none;
        of more steps than pixels, at each pixel. The area is by the trapezoidal rule for the shares that they are.
    ties : int
        Equal pixels are in random order: as many draws, at least 1, are averaged.
    random_orders : int
        At least 1.
    seed : int

    Returns
    -------
    Gains
        High is good. 0 in expectation for a random and for a constant map.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these.

    Notes
    -----
    Deletion and insertion: Petsiuk, Das and Saenko, "RISE: randomized input sampling for explanation of black-box
    models", BMVC 2018. Their areas are of probabilities, which depend on the scale of the logits, and can't be compared
    between models; these are in units of v(x) - v(x0), against random orders of the same model.
    """
    baseline = check_baseline(baseline, score.images)
    return _gains(score, maps, score.images, baseline, -1.0, steps, ties, random_orders, seed)


def insertion_gain(score, maps, baseline, *, steps=10, ties=5, random_orders=10, seed=0):
    """Return how much faster the score rises when pixels of x0 become the image's in a map's order than in random ones.

    Parameters, result and errors are those of `deletion_gain`.
    """
    baseline = check_baseline(baseline, score.images)
    return _gains(score, maps, baseline, score.images, 1.0, steps, ties, random_orders, seed)


def replacement_curve(score, starts, ends, orders, counts, of):
    """Return the scores as pixels of one image become those of another, in some order.

    Parameters
    ----------
    score : ClassScore
    starts, ends : Tensor (channels, ...)
        Two images of d pixels.
    orders : Tensor (r, d) int64
        In each row all pixels, those that are replaced first before the others.
    counts : sequence of int
        How many are replaced, each in 0..d.
    of : int
        Which of the score's images they are about.

    Returns
    -------
    Tensor (r, len(counts)) float64
    """
    pixels = orders.shape[1]
    places = torch.arange(pixels, device=orders.device)

    def masks():
        for order in orders:
            rank = torch.empty_like(order).scatter_(0, order, places)
            for count in counts:
                yield rank < count

    found = [score.values(_replaced(starts, ends, some), of) for some in batches(masks(), score.batch_size)]
    return torch.cat(found).view(len(orders), len(counts))


def _subset_size(size, pixels):
    size = check_number("size", size, 0, 1, strict=True)
    if pixels < 2:
        raise ValueError("an image has one pixel: sets of pixels can't differ; give images of at least 2.")
    return min(max(1, round(size * pixels)), pixels - 1)


def _subsets(subsets, chosen, pixels, seed, image):
    """Yield masks (pixels,) of sets of one size."""
    generator = own_generator("subsets", seed, image)
    for _ in range(subsets):
        mask = torch.zeros(pixels, dtype=torch.bool)
        mask[torch.randperm(pixels, generator=generator)[:chosen]] = True
        yield mask


def _replaced(image, other, masks):
    """Return copies (b, channels, ...) of an image, with the pixels of masks (b, d) those of another."""
    return torch.where(masks.view(-1, 1, *image.shape[1:]), other, image)


def _gains(score, maps, starts, ends, sign, steps, ties, random_orders, seed):
    single = isinstance(maps, torch.Tensor)
    maps = check_several_maps(maps, score.images).flatten(2)  # (m, N, d)
    steps = check_integer("steps", steps, 1)
    ties = check_integer("ties", ties, 1)
    random_orders = check_integer("random_orders", random_orders, 1)
    pixels = maps.shape[2]
    counts = sorted({round(pixels * step / min(steps, pixels)) for step in range(min(steps, pixels) + 1)})
    shares = torch.tensor(counts, dtype=torch.float64, device=maps.device) / pixels
    curves, random_curves = [], []
    with score.evaluating():
        for place in range(len(score)):
            orders = []
            for own_map in maps[:, place]:
                tied = own_generator("ties", seed, place)  # a map's draws don't depend on the others
                orders += [descending(own_map, tied) for _ in range(ties)]
            free = own_generator("random orders", seed, place)
            orders += [torch.randperm(pixels, generator=free).to(maps.device) for _ in range(random_orders)]
            found = replacement_curve(score, starts[place], ends[place], torch.stack(orders), counts, place)
            own, random = found.split([len(maps) * ties, random_orders])
            curves.append(own.unflatten(0, (len(maps), ties)).mean(1))
            random_curves.append(random.mean(0))
    curve, random_curve = torch.stack(curves, dim=1), torch.stack(random_curves)
    curve = curve[0] if single else curve
    area, random = (torch.trapezoid(each, shares) for each in (curve, random_curve))
    unit = -sign * (random_curve[:, 0] - random_curve[:, -1])
    return Gains(area, random, unit, sign, curve, random_curve, shares)
