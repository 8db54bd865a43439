"""What a segmentation of a data set certifies: each image attacked within a radius of its own, the images pooled."""

import statistics
from numbers import Real

import torch

from ..models.checks import check_integer
from .certificates import SortedCosts, check_budgets, most_value_lost
from .checks import IGNORED, check_labels
from .costs import PixelCosts
from .iou import choices_of, least_iou

SHARES = (0.01, 0.1, 0.5)


def class_pixels(labels, classes, ignore_index=IGNORED):
    """Count the pixels of each class: sum what this returns over the batches of a data set.

    Parameters
    ----------
    labels : Tensor (B, H, W)
        Of an integer type.
    classes : int
        K.
    ignore_index : int or None
        The label of pixels that are no pixels.

    Returns
    -------
    Tensor (K,) int64

    Raises
    ------
    TypeError, ValueError
        If a label isn't one of these.
    """
    classes = check_integer("classes", classes, 2)
    labels, labelled = check_labels(labels, None, classes, ignore_index)
    return torch.bincount(labels[labelled], minlength=classes).cpu()


class CertifiedMetrics:
    """Certified performance over a data set, batch by batch. Counts add up; quotients are of the sums.

    Pixel accuracy, class accuracy and IoU are the least that attacks within the radius can leave if every image is
    attacked on its own: certificate B, `most_lost`. Ignored pixels are none of the pixels.

    Parameters
    ----------
    class_pixels : Tensor (K,)
        Pixels of each class in the whole data set: `class_pixels` of its labels, summed. Classes without any count for
        nothing in means over classes.
    radii : sequence of float
        R radii, each at least 0. At 0 it is the clean performance, but for what rounding may account for.
    lipschitz_constant : float
        L > 0, of the network as a function of the image, all logits together; with a head, of all before it.
    iou : bool
        Whether to keep what `iou` and `false_negatives` need, which takes longer.
    head_weight, ignore_index
        As in `leaving_costs`.

    Attributes
    ----------
    radii : list of float
    images, pixels : int
        How many were added.
    pixel_accuracy : Tensor (R,) float64
        Share of the pixels that stay right.
    class_accuracy : Tensor (R,) float64
        Mean over the classes of the share of their pixels that stay right.
    which_pixels : Tensor (R,) float64
        Share of the pixels that are known, one by one, to stay right: certificate A.
    stable_pixels : Tensor (R,) float64
        Share of the pixels that keep the class that they are given, right or wrong.
    radius_1, radius_10, radius_50 : float
        Median over images of the radius below which no attack changes the classes that 1, 10, 50 % of the pixels are
        given.
    iou : Tensor (R, K) float64
        Of each class, attacked for that class alone: NaN for one that no pixel has, or can be given.
    miou : Tensor (R,) float64
        Mean over the classes that have pixels: a bound from below, as one attack can't reach the least of all at once.
    false_negatives : Tensor (R, K) int64
        Pixels of each class that can be given another, those that are so already among them.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't one of these. Where read, if no image was added, or other pixels than `class_pixels` has.

    Examples
    --------
    >>> labels = torch.tensor([[[0, 1, 1, 255]]])
    >>> logits = torch.tensor([[[[3.0, 0.0, 2.0, 0.0]], [[0.0, 2.0, 0.0, 0.0]]]], dtype=torch.float64)
    >>> metrics = CertifiedMetrics(class_pixels(labels, 2), [0, 1.5])
    >>> metrics.add(logits, labels)
    >>> metrics.pixel_accuracy
    tensor([0.6667, 0.3333], dtype=torch.float64)
    >>> metrics.miou
    tensor([0.5000, 0.1667], dtype=torch.float64)
    """

    def __init__(
        self, class_pixels, radii, lipschitz_constant=1.0, *, iou=True, head_weight=None, ignore_index=IGNORED
    ):
        counts = torch.as_tensor(class_pixels)
        if counts.ndim != 1 or len(counts) < 2 or counts.is_floating_point() or (counts < 0).any() or not counts.any():
            raise ValueError(
                "class_pixels must be the number of pixels of each of at least two classes, not all 0, got "
                f"{class_pixels!r}; see orthobench.segmentation.class_pixels."
            )
        self.radii = [radii] if isinstance(radii, Real) else list(radii)
        self._budgets = check_budgets(self.radii, lipschitz_constant)
        if not self.radii:
            raise ValueError("radii must hold at least one radius, got none; 36/255 is the usual one.")
        self._counts, self._constant = counts.long().cpu(), lipschitz_constant
        self._options = {"head_weight": head_weight, "ignore_index": ignore_index}
        present = self._counts > 0
        self._values = present / (self._counts.clamp(min=1) * present.sum()).double()
        self._seen = torch.zeros_like(self._counts)
        size, classes = len(self.radii), len(self._counts)
        self._sums = {name: torch.zeros(size, dtype=torch.float64) for name in ("lost", "value", "held", "changed")}
        self._worth, self._least = 0.0, []
        self._choices = [[[] for _ in range(classes)] for _ in range(size)] if iou else None
        self.images = self.pixels = 0

    def add(self, logits, labels, rounding=None):
        """Add a batch of images.

        Parameters
        ----------
        logits : Tensor (B, K, H, W)
        labels : Tensor (B, H, W)
            Every image has a pixel that is not ignored.
        rounding : float or Tensor (B,), optional
            As in `leaving_costs`.

        Raises
        ------
        TypeError, ValueError
            If they don't fit, or an image has no pixel. Nothing is added then.
        """
        costs = PixelCosts(logits, labels, rounding=rounding, **self._options)
        classes = len(self._counts)
        if logits.shape[1] != classes:
            raise ValueError(f"logits have {logits.shape[1]} classes and class_pixels {classes}: give it all of them.")
        pixels = costs.labelled.flatten(1).count_nonzero(1)
        if not pixels.all():
            image = (pixels == 0).nonzero()[0].item()
            raise ValueError(f"labels of image {image} are all {self._options['ignore_index']}: leave the image out.")
        leaving, values = costs.leaving, self._values.to(logits.device)[costs.labels] * costs.correct
        of_labels = SortedCosts(leaving)
        of_predictions = SortedCosts(costs.stable.masked_fill(~costs.labelled, torch.nan))
        self._sums["held"] += of_labels.held(self._budgets).sum(0).cpu()
        self._sums["lost"] += of_labels.lost(self._budgets).sum(0).cpu()
        self._sums["changed"] += of_predictions.lost(self._budgets).sum(0).cpu()
        self._sums["value"] += most_value_lost(leaving, values, self.radii, self._constant).sum(0).cpu()
        self._worth += values.sum().item()
        self._least.append(of_predictions.least_budgets(SHARES).sqrt().cpu() / self._constant)
        self._seen += costs.confusion.sum((0, 2))
        self.images += len(logits)
        self.pixels += int(pixels.sum())
        if self._choices is not None:
            for image in range(len(logits)):
                for k in range(classes):
                    for index, each in enumerate(choices_of(costs, image, k, self._budgets.tolist())):
                        self._choices[index][k].append(each)

    def _share(self, name):
        self._check_added()
        return self._sums[name] / self.pixels

    def _check_added(self):
        if not self.images:
            raise ValueError("no image was added: add those of the data set.")

    def _check_all(self):
        self._check_added()
        if not torch.equal(self._seen, self._counts):
            raise ValueError(
                f"class_pixels are {self._counts.tolist()}, and the images added have {self._seen.tolist()}: add all "
                "of the data set, once each."
            )

    @property
    def pixel_accuracy(self):
        return 1 - self._share("lost")

    @property
    def class_accuracy(self):
        self._check_all()
        return (self._worth - self._sums["value"]).clamp(min=0)

    @property
    def which_pixels(self):
        return self._share("held")

    @property
    def stable_pixels(self):
        return 1 - self._share("changed")

    def _median_radius(self, index):
        self._check_added()
        return statistics.median(torch.cat(self._least)[:, index].tolist())

    @property
    def radius_1(self):
        return self._median_radius(0)

    @property
    def radius_10(self):
        return self._median_radius(1)

    @property
    def radius_50(self):
        return self._median_radius(2)

    def _chosen(self):
        self._check_all()
        if self._choices is None:
            raise ValueError("iou is False: make CertifiedMetrics with iou=True for it.")
        return self._choices

    @property
    def iou(self):
        rows = [[least_iou(images) for images in of_radius] for of_radius in self._chosen()]
        return torch.tensor(rows, dtype=torch.float64)

    @property
    def miou(self):
        return self.iou[:, self._counts > 0].mean(1)

    @property
    def false_negatives(self):
        rows = [[sum(each.most_left - each.intersection for each in images) for images in of] for of in self._chosen()]
        return torch.tensor(rows) + self._counts
