"""The base of the data sets of images that robust networks are trained on."""

import math
from functools import partial

from ...data.parts import check_pixels
from ...models import lipschitz_convnet, lipschitz_mlp
from ..datasets import TaskDataset
from .task import ATTACK, EXPLAINED, RobustnessTask

# The parameters of the network, which every data set has: `network` is "comparison", "small" or "dense".
NETWORK = {"network": ["comparison"], "width": [16], "padding": ["circular"]}

# Blocks and convolutions of a block: of the small network, and of the public comparison.
SMALL = (2, 3)
CONVOLUTIONS = 5


class RobustnessDataset(TaskDataset):
    """A data set of images. A subclass has `NETWORK` among its parameters, ``steps`` and ``batch_size`` too.

    Attributes
    ----------
    classes : int
    blocks : int
        Of the network of the public comparison: as many as halve the images to a pixel.
    augment : callable or None
    attack : dict
        As of a `RobustnessTask`: fewer steps where the evaluation would take longer than the training.
    explained : int
    block : callable or None
    pictures : bool
        As of a `RobustnessTask`.
    """

    classes = 10
    blocks = 5
    augment = None
    attack = ATTACK
    explained = EXPLAINED
    block = None
    pictures = False

    def parts(self):
        """Return the `Parts`, with pixels in [0, 1]."""
        raise NotImplementedError

    def task(self, seed):
        parts = self.parts()
        check_pixels(**parts._asdict())
        networks = {"small": SMALL, "comparison": (self.blocks, CONVOLUTIONS)}
        if self.network == "dense":
            network, padding = self._dense(parts.train.inputs.shape[1:]), None
        elif self.network in networks:
            network, padding = self._convolutional(parts.train.inputs.shape[1:], *networks[self.network]), self.padding
        else:
            raise ValueError(f"network={self.network!r}: expected dense or {' or '.join(networks)}")
        more = {"augment": type(self).augment, "attack": self.attack, "explained": self.explained}
        more |= {"block": self.block, "pictures": self.pictures}
        return RobustnessTask(parts, self.classes, self.batch_size, self.steps, network, padding, **more)

    def _convolutional(self, shape, blocks, convolutions):
        channels, *size = shape
        sizes = {"channels": channels, "size": max(size), "blocks": blocks, "convolutions": convolutions}
        return partial(lipschitz_convnet, width=self.width, padding_mode=self.padding, **sizes)

    def _dense(self, shape):
        features = math.prod(shape)
        return partial(lipschitz_mlp, features=features, width=max(self.width, features + features % 2))
