"""The base of the data sets of images whose pixels are classified."""

from functools import partial

from ...data.parts import check_pixels
from ...models import lipschitz_unet
from ..datasets import TaskDataset
from .task import SegmentationTask

# The parameters that every data set has: of the network, and how many images of a part are attacked, and smoothed.
PROTOCOL = {"width": [16], "depth": [1], "padding": ["circular"], "attacked": [50], "smoothed": [32]}
ATTACK = {"steps": 10, "restarts": 6}


class SegmentationDataset(TaskDataset):
    """A data set of segmented images. A subclass has `PROTOCOL` among its parameters, ``steps``, ``batch_size`` too.

    Attributes
    ----------
    classes : int
    attack : dict
    pictures : bool
        As of a `SegmentationTask`.
    """

    classes = 2
    attack = ATTACK
    pictures = False

    def parts(self, seed):
        """Return the `Parts`, with pixels in [0, 1]; the seed is the repetition's."""
        raise NotImplementedError

    def task(self, seed):
        parts = self.parts(seed)
        check_pixels(**parts._asdict())
        channels = parts.train.inputs.shape[1]
        network = partial(
            lipschitz_unet, channels=channels, width=self.width, depth=self.depth, padding_mode=self.padding
        )
        more = {"attack": self.attack, "attacked": self.attacked, "smoothed": self.smoothed, "pictures": self.pictures}
        return SegmentationTask(parts, self.classes, self.batch_size, self.steps, network, self.padding, **more)
