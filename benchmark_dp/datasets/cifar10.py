"""CIFAR-10."""

from orthobench.data import cifar10
from orthobench.harness.privacy import NETWORK, PrivacyDataset


class Dataset(PrivacyDataset):
    """60,000 colour images of 32x32 pixels in 10 classes (Krizhevsky, 2009).

    `held_out=train_tail` holds out the last 5,000 training images instead of the test images, which it doesn't need.
    """

    name = "cifar10"
    parameters = {
        **NETWORK,
        "network": ["conv"],
        "steps": [1500],
        "batch_size": [4096],
        "held_out": ["test"],
    }

    def parts(self):
        return cifar10(self.folder(), held_out=self.held_out, standardised=False)
