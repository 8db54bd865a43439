"""The root benchmark's own part of the harness: data sets, the bases of solvers, and both halves of a cell."""

from ..exports import export

__all__, __getattr__ = export(
    __name__,
    {
        "datasets": ["MatrixDataset", "timing_metrics"],
        "solvers": ["PRECONDITIONERS", "DirectOrthogonaliser", "IterativeOrthogonaliser", "NewtonSchulz"],
    },
)
