"""Robust conformal prediction: a solver makes a predictor; all else is the harness's."""

from .objective import ConformalObjective
from .solver import ConformalSolver, make_score
from .task import ATTACK, NETWORK, SPLITS, ConformalDataset, ConformalTask, LogitsDataset, Network

__all__ = [
    "ATTACK",
    "NETWORK",
    "SPLITS",
    "ConformalDataset",
    "ConformalObjective",
    "ConformalSolver",
    "ConformalTask",
    "LogitsDataset",
    "Network",
    "make_score",
]
