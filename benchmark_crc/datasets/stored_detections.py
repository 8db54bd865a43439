"""Detections that you have: an .npz file, or COCO's results and annotations."""

from orthobench.harness.detection import SPLITS, StoredDataset


class Dataset(StoredDataset):
    """Detections of any detector, in a file with its SHA-256: see `orthobench.data.stored_detections`."""

    name = "stored_detections"
    files = {"file": [""], "sha256": [""], "annotations": [None], "annotations_sha256": [None]}
    parameters = {**SPLITS, **files, "least_score": [None]}
