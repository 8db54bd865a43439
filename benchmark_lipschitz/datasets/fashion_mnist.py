"""Fashion-MNIST: clothes."""

from orthobench.data import fashion_mnist
from orthobench.harness.lipschitz import NETWORK, RobustnessDataset


class Dataset(RobustnessDataset):
    """70,000 grey images of 28x28 pixels in 10 classes (Xiao, Rasul and Vollgraf, 2017)."""

    name = "fashion_mnist"
    parameters = {**NETWORK, "steps": [2000], "batch_size": [256]}
    attack = {"steps": 20, "restarts": 2}
    pictures = True  # MIT

    def parts(self):
        return fashion_mnist(self.folder(), standardised=False)
