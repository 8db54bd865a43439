"""What is segmented, and by which network: all that a solver has no say in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from ...data.parts import Parts
from ...lipschitz.networks import kind_of, layers_of
from ...models.checks import check_integer
from ...models.constant import constant_segmentation
from ...segmentation.checks import IGNORED
from ..training.task import TrainingTask

# Instead of a kind of layers: a network that gives all pixels one class.
CONSTANT = "constant"


@dataclass(frozen=True)
class SegmentationTask:
    """Images whose pixels are to be classified, and the network that is to do it.

    Attributes
    ----------
    parts : Parts of Examples
        Images (n, c, h, w) in [0, 1], so that a radius is one of pixels, and classes (n, h, w), 255 where there is
        none.
    classes : int
        Number of classes, K.
    batch_size, steps : int
        As of a `TrainingTask`.
    network : callable
        ``network(seed, make_layer=..., make_head=..., make_activation=..., classes=...)`` returns a fresh network on
        the CPU: `orthobench.models.lipschitz_unet` with the other arguments given.
    padding_mode : {"circular", "zeros"}
        Of its convolutions.
    attack : dict
        ``steps`` and ``restarts``, as `orthobench.segmentation.pgd_l2` takes them.
    attacked, smoothed : int
        How many images of a part, the first ones, are attacked; are certified where that takes noisy copies.
    pictures : bool
        Whether the licence of the images lets one be shown.

    Raises
    ------
    TypeError, ValueError
        If `attacked` or `smoothed` is no integer of at least 1.
    """

    parts: Parts
    classes: int
    batch_size: int
    steps: int
    network: Callable
    padding_mode: str = "circular"
    attack: dict = field(default_factory=dict)
    attacked: int = 50
    smoothed: int = 32
    pictures: bool = False

    def __post_init__(self):
        check_integer("attacked", self.attacked, 1)
        check_integer("smoothed", self.smoothed, 1)

    @property
    def shape(self):
        """Shape (channels, height, width) of an image."""
        return tuple(self.parts.train.inputs.shape[1:])

    def kind(self, layer):
        """Return the name of a kind of layers, if it is one, or `CONSTANT`."""
        return layer if layer == CONSTANT else kind_of(layer).name

    def model_factory(self, layer):
        """Return what makes a network of one kind of layers, from a seed."""
        if layer == CONSTANT:
            return partial(constant_segmentation, classes=self.classes)
        return partial(self.network, classes=self.classes, **layers_of(layer))

    def training_task(self, layer, loss, sigma=0.0):
        """Return the `TrainingTask` of a network; the data are the same objects.

        Parameters
        ----------
        layer : str
        loss : callable
            Of outputs (n, classes) and targets (n,), one for each pixel: a mean.
        sigma : float
            Standard deviation of the noise that images are trained with.
        """
        return TrainingTask(
            self.model_factory(layer),
            self.parts,
            self.batch_size,
            self.steps,
            target=0.0,  # no target: losses of different solvers are different functions
            evaluations=1,
            loss=partial(pixel_loss, loss),
            augment=partial(add_noise, sigma) if sigma else None,
        )


def pixel_loss(loss, logits, labels):
    """Return a loss of the pixels that have a label, of logits (b, K, h, w) and labels (b, h, w)."""
    labelled = labels.flatten() != IGNORED
    return loss(logits.movedim(1, -1).flatten(0, -2)[labelled], labels.flatten()[labelled].long())


def add_noise(sigma, images, generator):
    """Return images with Gaussian noise, which is drawn on the CPU: the same on every device."""
    noise = torch.randn(images.shape, generator=generator, dtype=images.dtype)
    return images + sigma * noise.to(images.device)
