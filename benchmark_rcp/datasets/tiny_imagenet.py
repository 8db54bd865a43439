"""Tiny ImageNet."""

from orthobench.data import tiny_imagenet
from orthobench.harness.conformal import ATTACK, NETWORK, SPLITS, ConformalDataset


class Dataset(ConformalDataset):
    """110,000 colour images of 64x64 pixels in 200 classes (Stanford's CS231n, 2015)."""

    name = "tiny_imagenet"
    requirements = ["pip::pillow"]
    parameters = {
        **SPLITS, **ATTACK, **NETWORK, "radius": [0.02], "splits": [20], "calibration": [4500], "evaluation": [500],
        "pool": [10000], "architecture": ["convolutional"], "width": [32], "steps": [10000],
    }  # fmt: skip
    classes = 200
    batch_size = 256

    def examples(self):
        parts = tiny_imagenet(self.folder(), standardised=False)
        return parts.train, parts.held_out
