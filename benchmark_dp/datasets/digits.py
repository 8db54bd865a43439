"""Scikit-learn's handwritten digits: real, and shipped with it."""

from orthobench.data import digits_parts
from orthobench.harness.privacy import NETWORK, PrivacyDataset


class Dataset(PrivacyDataset):
    """1,797 grey images of 8x8 pixels in 10 classes."""

    name = "digits"
    parameters = {**NETWORK, "steps": [200], "batch_size": [256]}
    test_parameters = {"network": ["linear", "mlp-64"], "steps": [4]}

    def parts(self):
        return digits_parts()
