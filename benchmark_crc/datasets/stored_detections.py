"""Detections that you have: an .npz file, or COCO's results and annotations."""

from orthobench.harness.detection import SPLITS, StoredDataset


class Dataset(StoredDataset):
    """Detections of any detector, with the SHA-256 of their file; `orthobench.data.detections_file` says what it holds."""

    name = "stored_detections"
    files = {"file": [""], "sha256": [""], "annotations": [None], "annotations_sha256": [None]}
    parameters = {**SPLITS, **files}
