"""Pascal VOC 2012."""

from orthobench.data import voc2012
from orthobench.data.segmented import VOC_CLASSES
from orthobench.harness.segmentation import PROTOCOL, SegmentationDataset


class Dataset(SegmentationDataset):
    """2,913 photographs (Everingham et al., 2015), padded to 256x256 pixels, in 21 classes."""

    name = "voc2012"
    requirements = ["pip::pillow"]
    parameters = {**PROTOCOL, "depth": [4], "steps": [4000], "batch_size": [16]}
    classes = len(VOC_CLASSES)
    pictures = False  # Flickr's terms

    def parts(self, seed):
        return voc2012(self.folder())
