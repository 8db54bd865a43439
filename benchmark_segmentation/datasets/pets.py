"""Oxford-IIIT Pet."""

from orthobench.data import oxford_pets
from orthobench.data.segmented import PETS_CLASSES
from orthobench.harness.segmentation import PROTOCOL, SegmentationDataset


class Dataset(SegmentationDataset):
    """7,349 photographs of cats and dogs (Parkhi et al., 2012) at 128x128 pixels: pet, background and their border."""

    name = "pets"
    requirements = ["pip::pillow"]
    parameters = {**PROTOCOL, "depth": [3], "steps": [4000], "batch_size": [32]}
    classes = len(PETS_CLASSES)
    pictures = True  # CC BY-SA 4.0

    def parts(self, seed):
        return oxford_pets(self.folder())
