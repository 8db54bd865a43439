"""Private training: a solver brings a mechanism; data, batches, noise level, accounting and tests are the harness's."""

from .evaluation import RADII
from .mechanisms import ClipFree, Clipping, NonPrivate, Plan
from .objective import PrivacyObjective
from .solver import PrivateSolver
from .task import NETWORK, PrivacyDataset, PrivateTask

__all__ = [
    "NETWORK",
    "RADII",
    "ClipFree",
    "Clipping",
    "NonPrivate",
    "Plan",
    "PrivacyDataset",
    "PrivacyObjective",
    "PrivateSolver",
    "PrivateTask",
]
