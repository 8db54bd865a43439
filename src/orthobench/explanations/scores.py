"""The number that is explained: for each image, what a classifier gives its class."""

import math
from contextlib import contextmanager

import torch
from torch.nn.utils import parametrize

from ..lipschitz.bounds.jacobian import evaluating
from ..lipschitz.certificates import check_labels, margin
from ..models.checks import check_integer
from .checks import check_finite, check_images
from .draws import own_generator

KINDS = ("margin", "logit")
# How many images are evaluated in other company too, and with how many copies of themselves.
_ALONE, _COPIES = 8, 7


class ClassScore:
    """The score v of each image's class y: its margin f_y - f_k over a rival k, or its logit f_y.

    The rival stays the same however an image is changed, so that v is as smooth as the logits. Neither score is a
    probability: those depend on the scale of the logits, so that two models could not be compared by them.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Maps images (b, channels, ...) to logits (b, C). A module is evaluated in eval mode, with parametrised weights
        computed once and in full float32, and is left as it was; no gradient is left in its parameters.
    images : Tensor (N, channels, ...)
        N >= 1, of the type and on the device that the model takes. A pixel is all channels at one place.
    labels : Tensor (N,)
        The classes that are explained.
    kind : {"margin", "logit"}
    rivals : Tensor (N,), optional
        The other classes, for "margin"; by default the highest logit but that of the label.
    batch_size : int
        Images that are evaluated at a time, and the most changed copies of an image that are in memory.

    Attributes
    ----------
    logits : Tensor (N, C)
        Of the images.
    right : Tensor (N,) bool
        Whether the label wins. An explanation of a class that doesn't win is one of a mistake.
    slope : float
        The Lipschitz constant of v where that of the logits together is 1: sqrt(2) for "margin", 1 for "logit".

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these, the logits don't fit the labels or aren't finite, or an image gets other
        logits in another batch.

    Examples
    --------
    >>> model, images = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)), torch.rand(5, 1, 2, 2)
    >>> score = ClassScore(model, images, torch.zeros(5, dtype=torch.int64))
    >>> score.values(images).shape
    torch.Size([5])
    """

    def __init__(self, model, images, labels, kind="margin", rivals=None, batch_size=256):
        if kind not in KINDS:
            raise ValueError(f"kind must be {' or '.join(map(repr, KINDS))}, got {kind!r}; 'margin' is the default.")
        if not callable(model):
            raise TypeError(f"model must be a torch.nn.Module or a callable, got {type(model).__name__}.")
        self.model, self.kind = model, kind
        self.images = check_images(images)
        self.batch_size = check_integer("batch_size", batch_size, 1)
        self.slope = math.sqrt(2) if kind == "margin" else 1.0
        self.logits = self.logits_of(self.images)
        self.labels = check_labels(self.logits, labels)
        self.right = margin(self.logits, self.labels) > 0
        self.rivals = self._check_rivals(rivals)
        self._check_company()

    def __len__(self):
        return len(self.images)

    @contextmanager
    def evaluating(self):
        """Put the model in eval mode, its parametrised weights computed once; what is within doesn't do it again."""
        with evaluating(self.model), parametrize.cached():
            yield

    def values(self, points, of=None):
        """Return the scores of points.

        Parameters
        ----------
        points : Tensor (b, channels, ...)
            Changed images.
        of : int or Tensor (b,), optional
            Of which image each is a copy, whose label and rival it has; by default the i-th of the i-th.

        Returns
        -------
        Tensor (b,) float64
        """
        points, of = self.check_points(points, of)
        return self._pick(self.logits_of(points), of)

    def gradients(self, points, of=None):
        """Return the scores (b,) of points, as `values` does, and their gradients (b, channels, ...), in float64."""
        points, of = self.check_points(points, of)
        values, gradients = [], []
        with self.evaluating(), torch.enable_grad():
            for some, rows in zip(points.split(self.batch_size), of.split(self.batch_size), strict=True):
                some = some.detach().requires_grad_()
                value = self.differentiable(some, rows)
                found = torch.autograd.grad(value.sum(), some, allow_unused=True)[0] if value.requires_grad else None
                if found is None:
                    raise ValueError(
                        "the logits don't depend on the images by operations that torch differentiates: maps need "
                        "their gradients; leave out detach, argmax and the like."
                    )
                values.append(value.detach())
                gradients.append(found.double())
        gradients = torch.cat(gradients)
        check_finite("the gradients of the score", gradients)
        return torch.cat(values), gradients

    def differentiable(self, points, of):
        """Return the scores (b,) of at most `batch_size` points, with their graph; call it within `evaluating`."""
        return self._pick(self._evaluate(points), of)

    def logits_of(self, points):
        """Return the logits (b, C) of points (b, channels, ...)."""
        return self._logits(points, self.batch_size)

    def check_points(self, points, of=None):
        """Return points in the type and on the device of the images, and of which image each is: int64 (b,)."""
        if not isinstance(points, torch.Tensor) or points.shape[1:] != self.images.shape[1:]:
            got = tuple(points.shape) if isinstance(points, torch.Tensor) else type(points).__name__
            raise ValueError(f"points must have the shape (b, {_sizes(self.images)}) of the images, got {got}.")
        device = self.images.device
        if of is None:
            if len(points) != len(self):
                raise ValueError(f"{len(points)} points of {len(self)} images: say by `of` which is a copy of which.")
            of = torch.arange(len(self), device=device)
        else:
            of = torch.as_tensor(of, device=device)
            if of.is_floating_point() or of.dtype == torch.bool or of.shape not in ((), points.shape[:1]):
                raise TypeError(
                    f"of must be an integer, or integers ({len(points)},), got {of.dtype} {tuple(of.shape)}."
                )
            of = of.long().expand(len(points))
            if len(of) and not 0 <= of.min() <= of.max() < len(self):
                raise IndexError(f"of is in {of.min()}..{of.max()}: give numbers of images, in 0..{len(self) - 1}.")
        return points.to(self.images), of

    def _pick(self, logits, of):
        own = logits.double().gather(1, self.labels[of, None]).squeeze(1)
        if self.kind == "logit":
            return own
        return own - logits.double().gather(1, self.rivals[of, None]).squeeze(1)

    def _logits(self, points, batch_size):
        with self.evaluating():
            return torch.cat([self._evaluate(some) for some in points.split(batch_size)])

    def _evaluate(self, points):
        logits = self.model(points.clone())  # a copy, for a model may write into what it is given
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(points):
            got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise ValueError(
                f"the model must return logits ({len(points)}, C) for {len(points)} images, got {got}; "
                "of one score f make two logits, f / sqrt(2) and -f / sqrt(2), which keep its Lipschitz constant."
            )
        check_finite("the logits", logits)
        return logits

    def _check_rivals(self, rivals):
        if rivals is None:
            return self.logits.scatter(1, self.labels[:, None], -math.inf).argmax(1)
        if self.kind == "logit":
            raise ValueError("rivals are for kind='margin' alone, got them with 'logit'; leave them out.")
        rivals = check_labels(self.logits, rivals)
        if (rivals == self.labels).any():
            place = int((rivals == self.labels).nonzero()[0])
            raise ValueError(f"the rival of image {place} is its own class {int(rivals[place])}; give another class.")
        return rivals

    def _check_company(self):
        """Raise ValueError if an image has other logits among others, alone, or among changed copies of itself."""
        half = -(-self.batch_size // 2)
        with self.evaluating():
            self._compare(self._logits(self.images.flip(0), half).flip(0), self.logits, "in another order")
            for place, image in enumerate(self.images[:_ALONE]):
                logits = self.logits[place : place + 1]
                self._compare(self._evaluate(image[None]), logits, "alone", place)
                copies = min(_COPIES, self.batch_size - 1)
                kept = torch.rand(copies, *image.shape, generator=own_generator("company", 0, place)) < 0.5
                among = torch.cat([image * kept.to(image.device), image[None]])
                self._compare(self._evaluate(among)[-1:], logits, "among changed copies of it", place)

    def _compare(self, found, expected, where, first=0):
        # Other sizes of a batch have other kernels, whose sums are rounded otherwise.
        tolerance = math.sqrt(torch.finfo(expected.dtype).eps) * self.logits.double().abs().max()
        differences = (found.double() - expected.double()).abs().amax(1)
        if (differences > tolerance).any():
            place = int(differences.argmax())
            raise ValueError(
                f"image {first + place} has other logits {where}, by {differences[place]:.3g}: they must depend on it "
                "alone, and be the same each time; leave out statistics of the batch and random numbers."
            )


def right_in_all(models, images, labels, batch_size=256):
    """Return which images all of some models classify right: those on which their explanations are comparable.

    Parameters
    ----------
    models : sequence of torch.nn.Module or callable
    images, labels, batch_size
        As of a `ClassScore`.

    Returns
    -------
    Tensor (N,) bool

    Raises
    ------
    TypeError, ValueError
        As `ClassScore`, or if there is no model.
    """
    models = list(models)
    if not models:
        raise ValueError("models must hold at least one model, got none.")
    return torch.stack([ClassScore(each, images, labels, batch_size=batch_size).right for each in models]).all(0)


def _sizes(images):
    return ", ".join(map(str, images.shape[1:]))
