"""Cityscapes, from a folder: it takes a registration."""

from orthobench.data import cityscapes
from orthobench.data.segmented import CITYSCAPES_CLASSES
from orthobench.harness.segmentation import PROTOCOL, SegmentationDataset


class Dataset(SegmentationDataset):
    """3,475 photographs of streets (Cordts et al., 2016) in 19 classes, at 1/`factor` of 1024x2048 pixels."""

    name = "cityscapes"
    requirements = ["pip::pillow"]
    parameters = {**PROTOCOL, "depth": [4], "steps": [4000], "batch_size": [16], "factor": [8]}
    classes = len(CITYSCAPES_CLASSES)
    pictures = False  # research alone

    def parts(self, seed):
        return cityscapes(self.folder(), self.factor)
