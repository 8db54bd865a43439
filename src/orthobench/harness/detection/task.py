"""What controllers of detection are compared on: detections of a pool of images, which is split many times."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ...conformal.detection import Detections, Truths
from ...conformal.detection.simulation import Simulation
from ...models.checks import check_integer


@dataclass(frozen=True)
class DetectionTask:
    """A pool of images with what a detector found in them and what is there.

    Attributes
    ----------
    detections, truths : Detections, Truths
        Of N images; detections have sizes.
    splits, calibration : int
        Number of random splits, and images of each that are for calibration; the others are tested. On simulated
        images each split has images of its own, and exact risks take the place of tests.
    seed : int
        Of the splits.
    simulation : Simulation, optional
        That the images were drawn from.
    average_precision : float
        Of the detector, at an IoU of 1/2: NaN if unknown.
    images : Tensor (k, c, h, w), optional
        The first images, if some may be shown.
    """

    detections: Detections
    truths: Truths
    splits: int
    calibration: int
    seed: int
    simulation: Simulation | None = None
    average_precision: float = float("nan")
    images: torch.Tensor | None = None

    def __post_init__(self):
        check_splits(self.splits, self.calibration, self.simulation is not None)
        least = self.calibration * (self.splits if self.simulation else 1) + (self.simulation is None)
        if len(self.detections) < least:
            raise ValueError(
                f"a pool of {len(self.detections)} images has none to test beside {self.calibration} for calibration: "
                "take fewer, or a larger pool"
            )
        if not len(self.truths.boxes):
            raise ValueError("a pool without any true box has nothing to detect: give the true boxes of its images")

    @property
    def sizes(self):
        """Width and height of the images, (N, 2)."""
        return self.detections.sizes

    @property
    def side(self):
        """The larger side of the largest image."""
        return float(self.sizes.max())

    @cached_property
    def calibrations(self):
        """The images (S, n) of each calibration, in random order."""
        if self.simulation is not None:
            return np.arange(self.splits * self.calibration).reshape(self.splits, self.calibration)
        orders = (np.random.default_rng([self.seed, split]) for split in range(self.splits))
        return np.array([each.permutation(len(self.detections))[: self.calibration] for each in orders])

    @cached_property
    def tests(self):
        """The images of each test: those that a split leaves, or those that the next one calibrates on."""
        if self.simulation is not None:
            return list(np.roll(self.calibrations, -1, axis=0))
        everything = np.arange(len(self.detections))
        return [np.setdiff1d(everything, part) for part in self.calibrations]


def check_splits(splits, calibration, simulated):
    """Raise TypeError or ValueError unless there can be so many splits: a simulated one is tested on another one."""
    check_integer("splits", splits, 2 if simulated else 1)
    check_integer("calibration", calibration, 1)
