"""Certifiably robust networks: a solver names a kind of layer; training, certificates and attacks are the harness's."""

from .objective import HEADLINE, RADII, LipschitzObjective
from .solver import LOSS, LipschitzSolver
from .task import NETWORK, RobustnessDataset, RobustnessTask

__all__ = [
    "HEADLINE",
    "LOSS",
    "NETWORK",
    "RADII",
    "LipschitzObjective",
    "LipschitzSolver",
    "RobustnessDataset",
    "RobustnessTask",
]
