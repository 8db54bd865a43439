"""CIFAR-10."""

from orthobench.data import cifar10, flip_and_shift
from orthobench.harness.lipschitz import NETWORK, RobustnessDataset


class Dataset(RobustnessDataset):
    """60,000 colour images of 32x32 pixels in 10 classes (Krizhevsky, 2009).

    `held_out=train_tail` holds out the last 5,000 training images instead of the test images, which it doesn't need.
    """

    name = "cifar10"
    parameters = {**NETWORK, "steps": [4000], "batch_size": [256], "held_out": ["test"]}
    augment = staticmethod(flip_and_shift)

    def parts(self):
        return cifar10(self.folder(), held_out=self.held_out, standardised=False)
