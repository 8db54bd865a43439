"""Scenes of scikit-learn's handwritten digits, found by a small detector."""

from orthobench.data import digit_boxes
from orthobench.harness.detection import SPLITS, DetectionDataset


class Dataset(DetectionDataset):
    """2,000 scenes of 48x48 pixels with 1 to 4 digits of three sizes among pieces of others, and a detector of them.

    The detector is trained on 4,000 scenes of other digits, once, and kept in the cache.
    """

    name = "digit_boxes"
    parameters = {**SPLITS, "pool": [2000], "train": [4000], "epochs": [10]}
    test_parameters = {"splits": [2], "calibration": [200], "pool": [400], "train": [64], "epochs": [1]}

    def scenes(self):
        return digit_boxes(0, train=self.train, pool=self.pool)
