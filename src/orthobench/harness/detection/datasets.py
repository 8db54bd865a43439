"""The bases of the data sets of detections: of a small detector that is trained here, simulated, and stored."""

import numpy as np

from ...conformal.detection import Detections, Truths
from ...conformal.detection.inputs import check_pair
from ...conformal.detection.precision import average_precision
from ...conformal.detection.simulation import Simulation
from ...data.cache import cached
from ...data.detections_file import stored_detections
from ...device import resolve_device
from ...models.detector import detect, trained_detector
from ..datasets import TaskDataset
from .task import DetectionTask, check_splits

# The parameters of the splits, which every data set has.
SPLITS = {"splits": [400], "calibration": [1000]}
# Images that may be shown.
SHOWN = 4


class DetectionDataset(TaskDataset):
    """Scenes on which a small detector is trained. A subclass has `SPLITS`, ``pool``, ``train`` and ``epochs``.

    Attributes
    ----------
    classes : int
    """

    classes = 10

    def scenes(self):
        """Return the `BoxScenes` to train on, and those of the pool: the same for every seed."""
        raise NotImplementedError

    def task(self, seed):
        train, pool = self.scenes()
        found = _detected(train, pool, self.classes, {"epochs": self.epochs}, resolve_device().type)
        detections = Detections(*found, sizes=np.tile(pool.images.shape[:1:-1], (len(pool.images), 1)))
        truths = Truths(pool.boxes, pool.offsets, pool.labels)
        precision = average_precision(detections, truths)
        return DetectionTask(
            detections, truths, self.splits, self.calibration, seed, None, precision, pool.images[:SHOWN].clone()
        )


@cached
def _detected(train, pool, classes, training, device):
    """Return boxes, scores, offsets and probabilities; ``device``, its kind, is part of the cache's key."""
    model = trained_detector(train, classes, device=resolve_device(), **training)
    found = Detections.of_images(*detect(model, pool.images, device=resolve_device()))
    return found.boxes, found.scores, found.offsets, found.probabilities


class SimulatedDataset(TaskDataset):
    """Images of a `Simulation`. A subclass has `SPLITS` and ``duplicates`` among its parameters."""

    def task(self, seed):
        check_splits(self.splits, self.calibration, simulated=True)
        simulation = Simulation(self.duplicates)
        drawn = simulation.draw(self.splits * self.calibration, np.random.default_rng(seed))
        return DetectionTask(*drawn, self.splits, self.calibration, seed, simulation)


class StoredDataset(TaskDataset):
    """Detections that a user has. A subclass has `SPLITS`, and the arguments of `stored_detections`.

    With a ``least_score``, boxes below it are left out, of all images alike: it must not be chosen by their truths.
    The detections of an image that are the same as those of another one, byte for byte, are left out with it.
    """

    def task(self, seed):
        found = stored_detections(self.file, self.sha256, self.annotations, self.annotations_sha256)
        detections = Detections(
            found["pred_boxes"],
            found["pred_scores"],
            found["pred_offsets"],
            found.get("pred_probabilities"),
            found["image_sizes"],
        )
        if self.least_score is not None:
            detections = detections.above(self.least_score)
        truths = Truths(found["true_boxes"], found["true_offsets"], found["true_labels"])
        check_pair(detections, truths)
        kept = _distinct(detections)
        detections, truths = detections[kept], truths[kept]
        precision = average_precision(detections, truths) if detections.classes else float("nan")
        return DetectionTask(detections, truths, self.splits, self.calibration, seed, None, precision)


def _distinct(detections):
    """Return the first image of each kind of detections."""
    arrays, first = [detections.boxes, detections.scores], {}
    if detections.classes:
        arrays.append(detections.probabilities)
    for image, (start, end) in enumerate(zip(detections.offsets[:-1], detections.offsets[1:], strict=True)):
        key = b"".join(each[start:end].tobytes() for each in arrays)
        first.setdefault(key if end > start else image, image)
    return np.array(sorted(first.values()), dtype=np.int64)
