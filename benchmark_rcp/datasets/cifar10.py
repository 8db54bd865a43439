"""CIFAR-10."""

from orthobench.data import cifar10
from orthobench.harness.conformal import ATTACK, NETWORK, SPLITS, ConformalDataset


class Dataset(ConformalDataset):
    """60,000 colour images of 32x32 pixels in 10 classes (Krizhevsky, 2009)."""

    name = "cifar10"
    parameters = {
        **SPLITS, **ATTACK, **NETWORK, "radius": [0.03], "splits": [20], "calibration": [4500], "evaluation": [500],
        "pool": [10000], "architecture": ["convolutional"], "width": [32], "steps": [10000],
    }  # fmt: skip
    batch_size = 256

    def examples(self):
        parts = cifar10(self.folder(), standardised=False)
        return parts.train, parts.held_out
