"""The base of the data sets of images whose pixels are classified."""

from functools import partial

from ...data.parts import check_pixels
from ...models import lipschitz_unet
from ..datasets import TaskDataset
from .task import SegmentationTask

# The parameters of the network, which every data set has.
NETWORK = {"width": [16], "depth": [1], "padding": ["circular"]}
ATTACK = {"steps": 20, "restarts": 6}


class SegmentationDataset(TaskDataset):
    """A data set of segmented images. A subclass has `NETWORK` among its parameters, ``steps``, ``batch_size`` too.

    Attributes
    ----------
    classes : int
    class_names : tuple of str
        The first is that of the background, if there is one.
    attack : dict
    attacked, smoothed : int
    pictures : bool
        As of a `SegmentationTask`.
    """

    classes = 2
    class_names = ()
    attack = ATTACK
    attacked, smoothed = 50, 32
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
