"""Scenes of Fashion-MNIST's garments: real garments, composed scenes."""

from orthobench.data import fashion_scenes
from orthobench.data.scenes import GARMENT_LABELS
from orthobench.harness.segmentation import PROTOCOL, SegmentationDataset


class Dataset(SegmentationDataset):
    """2,400 grey scenes of 64x64 pixels, drawn anew for each seed, with 2 to 4 garments of 28x28 pixels: 11 classes."""

    name = "fashion_scenes"
    parameters = {**PROTOCOL, "depth": [2], "steps": [1000], "batch_size": [32]}
    classes = len(GARMENT_LABELS)
    pictures = True  # MIT

    def parts(self, seed):
        return fashion_scenes(seed, self.folder())
