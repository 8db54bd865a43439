"""MNIST: handwritten digits."""

from orthobench.data import mnist
from orthobench.harness.privacy import NETWORK, PrivacyDataset


class Dataset(PrivacyDataset):
    """70,000 grey images of 28x28 pixels in 10 classes (LeCun, Cortes and Burges)."""

    name = "mnist"
    parameters = {**NETWORK, "network": ["mlp-256-256"], "steps": [1000], "batch_size": [2048]}

    def parts(self):
        return mnist(self.folder(), standardised=False)
