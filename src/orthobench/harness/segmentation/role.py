"""The stands' halves of a cell of segmentation: one has the solver and claims, the other trains without it."""

from ..lipschitz.role import ClaimRole, LipschitzRole
from ..training.loop import Trainer
from .solver import CHOICES, SegmentationSolver


class SegmentationClaimRole(ClaimRole):
    """Has the solver."""

    choices = CHOICES


class SegmentationRole(LipschitzRole):
    """Trains on pixels, by code of the harness alone."""

    base, _trains = SegmentationSolver, Trainer

    def training_task(self, layer):
        """Return what is trained, by what was chosen."""
        return self._robust.training_task(layer, self.solver.make_loss(), self.solver.sigma)
