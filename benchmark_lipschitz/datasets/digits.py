"""Scikit-learn's handwritten digits: real, and shipped with it."""

from orthobench.data import digits_parts
from orthobench.harness.lipschitz import NETWORK, RobustnessDataset


class Dataset(RobustnessDataset):
    """1,797 grey images of 8x8 pixels in 10 classes, for a small network."""

    name = "digits"
    parameters = {**NETWORK, "network": ["small"], "steps": [80], "batch_size": [64]}
    test_parameters = {"network": ["small", "dense"], "steps": [4], "width": [8]}
    blocks = 3
    attack = {"steps": 10, "restarts": 2}
    pictures = True  # BSD

    def parts(self):
        return digits_parts()
