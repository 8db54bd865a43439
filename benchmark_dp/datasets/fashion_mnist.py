"""Fashion-MNIST: pieces of clothing."""

from orthobench.data import fashion_mnist
from orthobench.harness.privacy import NETWORK, PrivacyDataset


class Dataset(PrivacyDataset):
    """70,000 grey images of 28x28 pixels in 10 classes (Xiao, Rasul and Vollgraf, 2017)."""

    name = "fashion_mnist"
    parameters = {**NETWORK, "network": ["mlp-256-256"], "steps": [1000], "batch_size": [2048]}

    def parts(self):
        return fashion_mnist(self.folder(), standardised=False)
