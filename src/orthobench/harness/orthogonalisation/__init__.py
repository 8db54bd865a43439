"""The root benchmark's own part of the harness: data sets, the bases of solvers, and both halves of a cell."""

from .datasets import PRECONDITIONERS, MatrixDataset, timing_metrics
from .solvers import DirectOrthogonaliser, IterativeOrthogonaliser, NewtonSchulz

__all__ = [
    "PRECONDITIONERS",
    "DirectOrthogonaliser",
    "IterativeOrthogonaliser",
    "MatrixDataset",
    "NewtonSchulz",
    "timing_metrics",
]
