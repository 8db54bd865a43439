"""What a pixel becomes that is taken away: no choice is neutral, so that figures are given for several.

Zero is the background of digits: taking away a blank pixel changes nothing, and what speaks by its absence isn't seen.
Noise and means are unlike any image that the model was trained on.
"""

import torch

from ..lipschitz.certificates import check_positive
from .checks import check_images
from .draws import own_generator

BASELINES = ("zero", "uniform", "mean", "blur")


def make_baseline(name, images, *, seed=0, low=0.0, high=1.0, reference=None, sigma=None):
    """Make what pixels of images are replaced by.

    Parameters
    ----------
    name : {"zero", "uniform", "mean", "blur"}
        0; uniform noise, each image's own; the mean of the reference, the same for all; the image, blurred.
    images : Tensor (N, channels, ...)
    seed : int
        Of "uniform".
    low, high : float
        What pixels may be, low < high: of "uniform".
    reference : Tensor (M, channels, ...), optional
        For "mean": the training images, best of all, so that it says nothing of the images that are explained.
    sigma : float, optional
        Standard deviation in pixels, > 0, of the Gaussian of "blur": by default a quarter of the longer side. Its
        weights are normalised at the border, so that a uniform image stays itself.

    Returns
    -------
    Tensor (N, channels, ...)
        Of the type of the images.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these, or "mean" has no reference.

    Examples
    --------
    >>> make_baseline("uniform", torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 1, 8, 8])
    """
    if name not in BASELINES:
        raise ValueError(f"name is {name!r}: give one of {', '.join(BASELINES)}, or use a tensor of your own")
    images = check_images(images)
    if name == "zero":
        return torch.zeros_like(images)
    if name == "uniform":
        return _uniform(images, seed, low, high)
    if name == "mean":
        return _mean(images, reference)
    return _blurred(images, sigma)


def check_baseline(baseline, images):
    """Return a baseline for each image, (N, channels, ...), in their type; raise unless it is one."""
    if not isinstance(baseline, torch.Tensor):
        raise TypeError(
            f"baseline must be a tensor, got {type(baseline).__name__}; make_baseline makes {', '.join(BASELINES)}."
        )
    try:
        expanded = baseline.to(images).expand_as(images)
    except RuntimeError:
        raise ValueError(
            f"baseline must broadcast to the images, {tuple(images.shape)}, got {tuple(baseline.shape)}."
        ) from None
    if not expanded.isfinite().all():
        raise ValueError("baseline must be finite, got NaN or infinity.")
    return expanded


def _uniform(images, seed, low, high):
    if not low < high:
        raise ValueError(f"low and high are {low!r} and {high!r}: give low < high, 0 and 1 for pixels in [0, 1]")
    drawn = [
        torch.rand(images.shape[1:], generator=own_generator("uniform baseline", seed, image), dtype=torch.float64)
        for image in range(len(images))
    ]
    return (low + (high - low) * torch.stack(drawn)).to(images)


def _mean(images, reference):
    if not isinstance(reference, torch.Tensor) or reference.shape[1:] != images.shape[1:] or not len(reference):
        got = tuple(reference.shape) if isinstance(reference, torch.Tensor) else type(reference).__name__
        raise ValueError(
            f"reference must be images (M, {', '.join(map(str, images.shape[1:]))}) for 'mean', got {got}; give those "
            "of training."
        )
    return reference.double().mean(0).to(images).expand_as(images).clone()


def _blurred(images, sigma):
    if images.ndim != 4:
        raise ValueError(f"images must be (N, channels, height, width) to be blurred, got {tuple(images.shape)}.")
    sigma = max(images.shape[2:]) / 4 if sigma is None else sigma
    check_positive("sigma", sigma, "it is in pixels, a quarter of the longer side by default")
    rows, columns = (_gaussian(size, sigma).to(images.device) for size in images.shape[2:])
    return (rows @ images.double() @ columns.mT).to(images.dtype)


def _gaussian(size, sigma):
    """Return the matrix (size, size) that replaces each entry by a Gaussian mean of all."""
    places = torch.arange(size, dtype=torch.float64)
    weights = (-((places - places[:, None]) ** 2) / (2 * sigma**2)).exp()
    return weights / weights.sum(1, keepdim=True)
