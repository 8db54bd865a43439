"""Robust conformal prediction by randomised smoothing, with Monte Carlo corrections: RSCP+, CAS, BinCP, RCP1."""

from .bincp import BinCP
from .cas import CAS
from .rank_transform import RankTransform
from .rcp1 import RCP1
from .rscp import RSCP, RSCPPlus
from .sampling import gaussian_noise, uniform_in_ball

__all__ = ["CAS", "RCP1", "RSCP", "BinCP", "RSCPPlus", "RankTransform", "gaussian_noise", "uniform_in_ball"]
