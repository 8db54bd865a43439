"""CIFAR-100."""

from orthobench.data import cifar100
from orthobench.harness.conformal import ATTACK, NETWORK, SPLITS, ConformalDataset


class Dataset(ConformalDataset):
    """60,000 colour images of 32x32 pixels in 100 classes (Krizhevsky, 2009)."""

    name = "cifar100"
    parameters = {
        **SPLITS, **ATTACK, **NETWORK, "radius": [0.02], "splits": [20], "calibration": [4500], "evaluation": [500],
        "pool": [10000], "architecture": ["convolutional"], "width": [32], "steps": [10000],
    }  # fmt: skip
    classes = 100
    batch_size = 256

    def examples(self):
        parts = cifar100(self.folder(), standardised=False)
        return parts.train, parts.held_out
