"""Attribution maps: how much each pixel of an image counts for the score of its class.

All take a `ClassScore`; points (b, channels, ...), by default its images; and `of`, of which image each point is a
copy, as `ClassScore.values` does. They return maps (b, ...) in float64, one number for each pixel, whose channels count
together: those with a sign, which attribute a change of the score, are summed over the channels, of those without a
sign the largest is taken.
"""

import torch

from ..lipschitz.certificates import check_positive
from ..models.checks import check_integer
from .baselines import check_baseline
from .checks import check_images
from .draws import batches, normal_like, own_generator


def saliency(score, points=None, of=None):
    """Return |grad v|, the largest of the channels (Simonyan, Vedaldi and Zisserman, 2014).

    Parameters
    ----------
    score : ClassScore
    points : Tensor (b, channels, ...), optional
    of : int or Tensor (b,), optional

    Returns
    -------
    Tensor (b, ...) float64
        At least 0.
    """
    points, of = _points(score, points, of)
    return score.gradients(points, of)[1].abs().amax(1)


def gradient_input(score, points=None, of=None):
    """Return x grad v, summed over the channels: of a linear score, what each pixel adds to it.

    Parameters and result are those of `saliency`, but for the sign, which these have.
    """
    points, of = _points(score, points, of)
    return (points.double() * score.gradients(points, of)[1]).sum(1)


def smoothgrad(score, points=None, of=None, *, samples=50, noise=0.2, seed=0):
    """Return |mean of grad v at noisy copies|, the largest of the channels (Smilkov et al., 2017).

    Parameters
    ----------
    score, points, of
        As of `saliency`, which this is without noise.
    samples : int
        Copies, at least 1.
    noise : float
        Standard deviation of the Gaussian noise, > 0, in units of the pixels. Copies aren't clipped.
    seed : int
        Copies of one image have the same noise.

    Returns
    -------
    Tensor (b, ...) float64
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range.
    """
    samples = check_integer("samples", samples, 1)
    check_positive("noise", noise, "0.2 is the default")
    points, of = _points(score, points, of)

    def around(point, image):
        generator = own_generator("smoothgrad", seed, image)
        for _ in range(samples):
            yield (point + noise * normal_like(point, generator)).to(point.dtype)

    return _mean_gradients(score, points, of, around, [1 / samples] * samples).abs().amax(1)


def integrated_gradients(score, points=None, of=None, *, baseline=None, steps=50):
    """Return (x - x0) times the mean of grad v on the segment from x0 to x, summed over the channels.

    Their sum is v(x) - v(x0), to the error of the quadrature (Sundararajan, Taly and Yan, ICML 2017).

    Parameters
    ----------
    score, points, of
        As of `saliency`.
    baseline : Tensor, optional
        x0, as `make_baseline` returns it: (N, channels, ...) or what broadcasts to it; zero by default.
    steps : int
        Intervals of the trapezoidal rule, at least 1.

    Returns
    -------
    Tensor (b, ...) float64

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these.
    """
    steps = check_integer("steps", steps, 1)
    points, of = _points(score, points, of)
    starts = check_baseline(torch.zeros(()) if baseline is None else baseline, score.images)
    weights = [(0.5 if step in (0, steps) else 1) / steps for step in range(steps + 1)]

    def between(point, image):
        start = starts[image].double()
        for step in range(steps + 1):
            yield (start + step / steps * (point.double() - start)).to(point.dtype)

    differences = points.double() - starts[of].double()
    return (differences * _mean_gradients(score, points, of, between, weights)).sum(1)


def random_maps(images, seed=0):
    """Return maps (N, ...) of uniform random numbers in [0, 1), in float64: the control of a metric.

    Images are (N, channels, ...). They aren't among `MAPS`: as they don't depend on the image, their stability says
    nothing.
    """
    shape = check_images(images).shape[2:]
    drawn = [
        torch.rand(shape, generator=own_generator("random map", seed, image), dtype=torch.float64)
        for image in range(len(images))
    ]
    return torch.stack(drawn).to(images.device)


MAPS = {
    "saliency": saliency,
    "gradient_input": gradient_input,
    "smoothgrad": smoothgrad,
    "integrated": integrated_gradients,
}


def _points(score, points, of):
    return score.check_points(score.images if points is None else points, of)


def _mean_gradients(score, points, of, copies, weights):
    """Return weighted means (b, channels, ...) of the gradients at ``copies(point, image)`` of each point."""
    weights = torch.tensor(weights, dtype=torch.float64, device=points.device)
    found = torch.zeros(points.shape, dtype=torch.float64, device=points.device)
    with score.evaluating():
        for mean, point, image in zip(found, points, of.tolist(), strict=True):
            some_weights = weights.split(score.batch_size)
            for some, own in zip(batches(copies(point, image), score.batch_size), some_weights, strict=True):
                mean += torch.tensordot(own, score.gradients(some, image)[1], dims=1)
    return found
