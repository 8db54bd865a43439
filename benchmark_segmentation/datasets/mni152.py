"""The ICBM152 average head by MRI: real, and shipped with nilearn."""

from orthobench.data import mni152
from orthobench.data.brain import TISSUES
from orthobench.harness.segmentation import PROTOCOL, SegmentationDataset

# All that there are.
HELD_OUT = {"attacked": [24], "smoothed": [24]}


class Dataset(SegmentationDataset):
    """105 coronal slices of one head, an average of 152 (Fonov et al., 2011), of 80x80 pixels with 4 tissues.

    24 slices are held out, at 8 mm or more from all others. Tissues are the likeliest ones by the atlas' own maps.
    `factor` is the side of a pixel in mm: 1, 2, 4 or 5.
    """

    name = "mni152"
    requirements = ["pip::nilearn"]
    parameters = {**PROTOCOL, **HELD_OUT, "depth": [2], "steps": [300], "batch_size": [8], "factor": [2]}
    classes = len(TISSUES)
    pictures = True  # with the notice of orthobench.data.brain.MNI152.licence

    def parts(self, seed):
        return mni152(self.factor)
