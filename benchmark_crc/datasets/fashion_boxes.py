"""Scenes of Fashion-MNIST's garments, found by a small detector."""

from orthobench.data import fashion_boxes
from orthobench.harness.detection import SPLITS, DetectionDataset


class Dataset(DetectionDataset):
    """2,000 scenes of 96x96 pixels with 1 to 4 garments of 28x28, and a detector that is trained on 4,000 others."""

    name = "fashion_boxes"
    parameters = {**SPLITS, "pool": [2000], "train": [4000], "epochs": [10]}

    def scenes(self):
        return fashion_boxes(0, self.folder(), train=self.train, pool=self.pool)
