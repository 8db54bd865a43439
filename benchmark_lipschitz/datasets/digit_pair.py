"""Two of scikit-learn's handwritten digits: the theory of hKR's counterfactuals is one of two classes."""

from orthobench.data import class_pair, digits_parts
from orthobench.harness.lipschitz import NETWORK, RobustnessDataset


class Dataset(RobustnessDataset):
    """About 360 grey images of 8x8 pixels, of a first and a second class of `digits`."""

    name = "digit_pair"
    parameters = {
        **NETWORK,
        "network": ["small"],
        "steps": [80],
        "batch_size": [64],
        "first": [0],
        "second": [5],
        "explained": [200],
    }
    test_parameters = {"steps": [4], "width": [8], "explained": [20]}
    classes = 2
    blocks = 3
    attack = {"steps": 10, "restarts": 2}
    pictures = True  # BSD

    def parts(self):
        return class_pair(digits_parts(), (self.first, self.second))
