"""What controlling the risks of a detector costs: seconds to calibrate and to predict, and memory, which is linear.

``orthobench speed risk`` prints it, of made-up detections. Nothing else should run meanwhile.
"""

import time
import tracemalloc

import numpy as np

from ..conformal.detection import DetectionLosses, Detections, JointController, SequentialController, Truths
from .goals import Figure

TRUE_BOXES, CLASSES = 7, 20
SIDE = 640.0
ALPHAS = {"confidence": 0.02, "localisation": 0.05, "classification": 0.05}
# Seconds to calibrate; the memory of four times as many images, over four times that of these.
GOAL_S, GOAL_GROWTH = 5.0, 1.25
CONTROLLERS = {
    "sequential, box_wise": SequentialController(DetectionLosses(), ALPHAS),
    "sequential, pixel_wise": SequentialController(
        DetectionLosses(confidence="count_recall", localisation="pixel_wise", margins="multiplicative"), ALPHAS
    ),
    "joint": JointController(DetectionLosses(), {"confidence": 0.02, "joint": 0.1}),
}


def made_up_images(images, boxes, true_boxes=TRUE_BOXES, classes=CLASSES, seed=0):
    """Return detections and truths: the first candidates of an image are its true boxes, moved, the others anywhere.

    Parameters
    ----------
    images, boxes, true_boxes, classes : int
        Each image has so many candidates, and 1 to ``true_boxes`` true ones.

    Returns
    -------
    Detections, Truths
    """
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 0.8 * SIDE, (images, boxes, 2))
    found = np.concatenate([corners, corners + random.uniform(10, 0.2 * SIDE, (images, boxes, 2))], axis=2)
    counts = random.integers(1, true_boxes + 1, images)
    right = np.arange(boxes) < counts[:, None]
    labels = random.integers(0, classes, (images, boxes))
    logits = random.normal(size=(images, boxes, classes))
    np.put_along_axis(logits, labels[:, :, None], 5.0, axis=2)
    probabilities = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    moved = np.sort((found + random.normal(scale=3, size=found.shape)).reshape(images, boxes, 2, 2), axis=2)
    detections = Detections(
        moved.reshape(-1, 4),
        np.where(right, random.beta(5, 1, right.shape), random.beta(1, 20, right.shape)).ravel(),
        np.arange(images + 1) * boxes,
        probabilities.reshape(-1, classes),
        np.full((images, 2), SIDE),
    )
    return detections, Truths(found[right], np.concatenate([[0], counts.cumsum()]), labels[right])


def seconds(run):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_bytes(run):
    """Return the most bytes that Python and NumPy allocate at one time in a call, beyond those before it."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def times(images, boxes, repetitions):
    """Yield the `Figure` of the seconds that each controller takes to calibrate, and to predict as many images."""
    detections, truths = made_up_images(images, boxes)
    size = f"{images} images with {boxes} boxes each"
    for name, controller in CONTROLLERS.items():
        taken = [seconds(lambda own=controller: own.calibrate(detections, truths)) for _ in range(repetitions)]
        yield Figure.of(f"{name}, calibrating {size}, s", taken, at_most=GOAL_S)
        taken = [seconds(lambda own=controller: own.predict(detections)) for _ in range(repetitions)]
        yield Figure.of(f"{name}, predicting them, s", taken)


def growth(images, boxes):
    """Yield the `Figure` of each controller: the peak memory of four times as many images, over four times it."""
    few, many = made_up_images(images, boxes), made_up_images(4 * images, boxes)
    for name, controller in CONTROLLERS.items():
        for what, runs in (
            ("calibrating", [lambda own=controller, pair=pair: own.calibrate(*pair) for pair in (few, many)]),
            ("predicting", [lambda own=controller, pair=pair: own.predict(pair[0]) for pair in (few, many)]),
        ):
            small, large = map(peak_bytes, runs)
            text = f"{name}, {what}: {large / (4 * images * boxes):.0f} bytes a box; over a quarter of the images"
            yield Figure(text, large / (4 * small), at_most=GOAL_GROWTH)


def main(arguments):
    """Print the report."""
    for figure in times(arguments.images, arguments.boxes, arguments.repetitions):
        print(figure.line(), flush=True)
    for figure in growth(arguments.images // 4, arguments.boxes):
        print(figure.line(), flush=True)
