"""CIFAR-100."""

from orthobench.data import cifar100, flip_and_shift
from orthobench.harness.lipschitz import NETWORK, RobustnessDataset


class Dataset(RobustnessDataset):
    """60,000 colour images of 32x32 pixels in 100 classes (Krizhevsky, 2009)."""

    name = "cifar100"
    parameters = {**NETWORK, "steps": [4000], "batch_size": [256]}
    classes = 100
    augment = staticmethod(flip_and_shift)

    def parts(self):
        return cifar100(self.folder(), standardised=False)
