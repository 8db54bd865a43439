"""Conformal prediction of any torch model, with sets that keep their coverage under attack."""

from .predictor import Claim, Predictor
from .quantile import conformal_rank, conformal_threshold
from .scores import APS, LAC, RAPS, Margin, MaxRatio, Score

__all__ = [
    "APS",
    "LAC",
    "RAPS",
    "Claim",
    "Margin",
    "MaxRatio",
    "Predictor",
    "Score",
    "conformal_rank",
    "conformal_threshold",
]
