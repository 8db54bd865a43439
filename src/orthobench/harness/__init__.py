"""What every benchmark run shares: stands, seeds, budget, status rows, stopping, provenance, cache identity."""

from .stand import front  # noqa: F401 - first, for it watches from its import on

# isort: split
from .exports import export
from .seeds import set_threads

__all__, __getattr__ = export(
    __name__,
    {
        "checks": ["check_tensors"],
        ".device": ["resolve_device", "synchronize"],
        "objective": ["Objective"],
        "orthogonalisation.datasets": ["MatrixDataset", "timing_metrics"],
        "orthogonalisation.solvers": ["DirectOrthogonaliser", "IterativeOrthogonaliser", "NewtonSchulz"],
        "seeds": ["set_threads"],
        "status": ["STATUSES", "Diverged", "InvalidResult", "Refuted"],
        "strict": ["raise_failures"],
        "unsaved": ["Unsaved"],
    },
)

# At import, before any work: sums depend on the number of threads, also in the workers of `-j 2`.
set_threads()
