"""Conformal prediction of any torch model, with sets that keep their coverage under attack."""

from .aprcp import APRCP
from .coverage_bounds import CoverageBounds, coverage_bounds, vanilla_coverage_bounds
from .lipschitz import LipschitzConformal
from .predictor import Claim, Predictor
from .quantile import conformal_rank, conformal_threshold
from .saving import load, save
from .scores import APS, LAC, RAPS, Margin, MaxRatio, Score, log_probabilities
from .smoothing import CAS, RCP1, RSCP, BinCP, RSCPPlus
from .split import SplitConformal
from .verified import VRCPC, VRCPI

__all__ = [
    "APRCP",
    "APS",
    "CAS",
    "LAC",
    "RAPS",
    "RCP1",
    "RSCP",
    "VRCPC",
    "VRCPI",
    "BinCP",
    "Claim",
    "CoverageBounds",
    "LipschitzConformal",
    "Margin",
    "MaxRatio",
    "Predictor",
    "RSCPPlus",
    "Score",
    "SplitConformal",
    "conformal_rank",
    "conformal_threshold",
    "coverage_bounds",
    "load",
    "log_probabilities",
    "save",
    "vanilla_coverage_bounds",
]
