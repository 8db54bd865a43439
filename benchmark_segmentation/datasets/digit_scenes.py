"""Scenes of scikit-learn's handwritten digits: real digits, composed scenes."""

from orthobench.data import digit_scenes
from orthobench.data.scenes import DIGIT_LABELS
from orthobench.harness.segmentation import PROTOCOL, SegmentationDataset


class Dataset(SegmentationDataset):
    """1,400 grey scenes of 24x24 pixels, drawn anew for each seed, in which 5 to 9 digits of 8x8 pixels stand.

    `labels=digits` has 11 classes, the background and the ten digits; `labels=foreground` has 2.
    """

    name = "digit_scenes"
    parameters = {**PROTOCOL, "steps": [200], "batch_size": [16], "labels": ["digits"]}
    test_parameters = {"steps": [2], "width": [8], "labels": ["digits", "foreground"]}
    pictures = True  # BSD

    @property
    def classes(self):
        return len(DIGIT_LABELS[self.labels])

    def parts(self, seed):
        return digit_scenes(seed, labels=self.labels)
