"""Scikit-learn's handwritten digits: real, and shipped with it."""

from orthobench.data import digits, split_by_hash
from orthobench.harness.conformal import ATTACK, NETWORK, SPLITS, ConformalDataset


class Dataset(ConformalDataset):
    """1,797 grey images of 8x8 pixels in 10 classes: 45 % to train on, by hash, the others to calibrate and test."""

    name = "digits"
    parameters = {**SPLITS, **ATTACK, **NETWORK, "radius": [0.25]}
    test_parameters = {
        "splits": [2], "calibration": [100], "evaluation": [50], "pool": [250], "steps": [20], "attack_steps": [2],
        "attacked": [50],
    }  # fmt: skip

    def examples(self):
        return split_by_hash(*digits(), (0.45, 0.55))
