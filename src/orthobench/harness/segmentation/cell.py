"""The bench's half of a cell of segmentation."""

from ..lipschitz.cell import LipschitzCell
from .solver import CHOICES, SMOOTHING


class SegmentationCell(LipschitzCell):
    """Has a network trained without the solver's file, and asks that for its constant alone."""

    role = "orthobench.harness.segmentation.role:SegmentationClaimRole"
    training_role = "orthobench.harness.segmentation.role:SegmentationRole"
    choices, texts = CHOICES, ("loss", "correction")

    def _go_on(self, point):
        """Return what `LipschitzCell` does, with the noise that it is to be certified with."""
        seconds, result, doubt = super()._go_on(point)
        return seconds, result | {"smoothing": {name: self._chosen[name] for name in SMOOTHING}}, doubt
