"""A small pool of images with boxes, of three classes, which a detector finds with noise; and its task."""

import numpy as np

from orthobench.conformal.detection import Detections, Truths
from orthobench.harness.detection import DetectionTask

CLASSES, SIDE = 3, 32.0


def make_pool(images=240, seed=0, with_classes=True):
    """Return detections and truths: 1 to 3 objects an image, some missed, and false boxes of low scores."""
    random = np.random.default_rng(seed)
    boxes, scores, probabilities, true, labels = [], [], [], [], []
    for _ in range(images):
        count = int(random.integers(1, 4))
        corners = random.integers(0, 20, (count, 2))
        own = np.concatenate([corners, corners + random.integers(4, 12, (count, 2))], axis=1).astype(float)
        own_labels = random.integers(0, CLASSES, count)
        false = int(random.integers(0, 4))
        noisy = np.clip(own + random.normal(0, 1, own.shape).round(1), 0, SIDE)
        noisy[:, 2:] = np.maximum(noisy[:, :2], noisy[:, 2:])
        corners = random.integers(0, 20, (false, 2))
        wrong = np.concatenate([corners, corners + 6], axis=1).astype(float)
        boxes.append(np.concatenate([noisy, wrong]))
        scores.append(np.concatenate([random.beta(5, 1, count), random.beta(1, 5, false)]).round(2))
        right = np.eye(CLASSES)[own_labels]
        soft = random.dirichlet(np.ones(CLASSES), count + false)
        probabilities.append(0.5 * soft + 0.5 * np.concatenate([right, np.full((false, CLASSES), 1 / CLASSES)]))
        true.append(own)
        labels.append(own_labels)
    sizes = np.full((images, 2), SIDE)
    if with_classes:
        return Detections.of_images(boxes, scores, probabilities, sizes), Truths.of_images(true, labels)
    return Detections.of_images(boxes, scores, None, sizes), Truths.of_images(true)


def make_task(seed=0, splits=100, calibration=120, **options):
    return DetectionTask(*make_pool(**options), splits, calibration, seed, average_precision=0.5)
