"""Private training: a solver brings a mechanism; data, batches, noise, accounting and tests are the harness's."""

from .evaluation import RADII
from .mechanisms import ClipFree, Clipping, Mechanism, NonPrivate, Plan
from .objective import PrivacyObjective
from .solver import PrivateSolver
from .task import NETWORK, PrivacyDataset, PrivateTask

__all__ = [
    "NETWORK",
    "RADII",
    "ClipFree",
    "Clipping",
    "Mechanism",
    "NonPrivate",
    "Plan",
    "PrivacyDataset",
    "PrivacyObjective",
    "PrivateSolver",
    "PrivateTask",
]
