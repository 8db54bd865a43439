"""Imagenette."""

from orthobench.data import flip_and_shift, imagenette
from orthobench.harness.lipschitz import NETWORK, RobustnessDataset


class Dataset(RobustnessDataset):
    """13,394 colour images in 10 classes of ImageNet that are easy to tell apart (Howard, 2019), at 64x64 pixels."""

    name = "imagenette"
    requirements = ["pip::pillow"]
    parameters = {**NETWORK, "steps": [2000], "batch_size": [256]}
    blocks = 6
    augment = staticmethod(flip_and_shift)

    def parts(self):
        return imagenette(self.folder(), size=64, standardised=False)
