"""MNIST: handwritten digits."""

from orthobench.data import mnist
from orthobench.harness.lipschitz import NETWORK, RobustnessDataset


class Dataset(RobustnessDataset):
    """70,000 grey images of 28x28 pixels in 10 classes (LeCun, Cortes and Burges)."""

    name = "mnist"
    parameters = {**NETWORK, "steps": [2000], "batch_size": [256]}

    def parts(self):
        return mnist(self.folder(), standardised=False)
