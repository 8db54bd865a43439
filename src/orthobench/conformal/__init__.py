"""Conformal prediction of any torch model, with sets that keep their coverage under attack."""

from .coverage_bounds import CoverageBounds, coverage_bounds, vanilla_coverage_bounds
from .lipschitz import LipschitzConformal
from .predictor import Claim, Predictor
from .quantile import conformal_rank, conformal_threshold
from .scores import APS, LAC, RAPS, Margin, MaxRatio, Score
from .split import SplitConformal
from .verified import VRCPC, VRCPI

__all__ = [
    "APS",
    "LAC",
    "RAPS",
    "VRCPC",
    "VRCPI",
    "Claim",
    "CoverageBounds",
    "LipschitzConformal",
    "Margin",
    "MaxRatio",
    "Predictor",
    "Score",
    "SplitConformal",
    "conformal_rank",
    "conformal_threshold",
    "coverage_bounds",
    "vanilla_coverage_bounds",
]
