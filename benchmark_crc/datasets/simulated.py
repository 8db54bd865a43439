"""Detections whose risks are known exactly, for any thresholds."""

from orthobench.harness.detection import SimulatedDataset


class Dataset(SimulatedDataset):
    """One object an image, whose score, margin and class are uniform: risks are exact.

    Each calibration has images of its own. With `duplicates`, each image has a second box of the wrong class: losses
    rise as boxes are added.
    """

    name = "simulated"
    parameters = {"splits": [2000], "calibration": [99], "duplicates": [False]}
    test_parameters = {"splits": [120], "calibration": [99], "duplicates": [False]}
