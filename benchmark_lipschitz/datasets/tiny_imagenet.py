"""Tiny ImageNet."""

from orthobench.data import flip_and_shift, tiny_imagenet
from orthobench.harness.lipschitz import NETWORK, RobustnessDataset


class Dataset(RobustnessDataset):
    """110,000 colour images of 64x64 pixels in 200 classes (Stanford's CS231n, 2015)."""

    name = "tiny_imagenet"
    requirements = ["pip::pillow"]
    parameters = {**NETWORK, "steps": [4000], "batch_size": [256]}
    classes = 200
    blocks = 6
    augment = staticmethod(flip_and_shift)

    def parts(self):
        return tiny_imagenet(self.folder(), standardised=False)
