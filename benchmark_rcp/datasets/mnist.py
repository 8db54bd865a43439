"""MNIST."""

from orthobench.data import mnist
from orthobench.harness.conformal import ATTACK, NETWORK, SPLITS, ConformalDataset


class Dataset(ConformalDataset):
    """70,000 grey images of 28x28 pixels in 10 classes (LeCun, Cortes and Burges, 1998)."""

    name = "mnist"
    parameters = {
        **SPLITS, **ATTACK, **NETWORK, "radius": [0.25], "splits": [20], "calibration": [1000], "evaluation": [500],
        "pool": [2500], "attacked": [500], "steps": [3000],
    }  # fmt: skip
    batch_size = 128

    def examples(self):
        parts = mnist(self.folder(), standardised=False)
        return parts.train, parts.held_out
