"""What every benchmark run shares: device, clock, seeds, budget, status rows, stopping, provenance, cache identity."""

from .stand import front  # noqa: F401 - first, for it watches from its import on

# isort: split
from .checks import check_tensors
from .device import resolve_device, synchronize
from .objective import Objective
from .orthogonalisation import (
    DirectOrthogonaliser,
    IterativeOrthogonaliser,
    MatrixDataset,
    NewtonSchulz,
    timing_metrics,
)
from .seeds import set_threads
from .solver import CallbackSolver, IterationSolver, RunOnceSolver, Solver
from .stand import thin
from .status import STATUSES, Diverged, InvalidResult, Refuted
from .strict import raise_failures
from .unsaved import Unsaved

# Benchopt imports the objective first, in every process: from then on, solvers' files are read and not run.
thin.install()
# At import, before any work: sums depend on the number of threads, also in the workers of `-j 2`.
set_threads()

__all__ = [
    "STATUSES",
    "CallbackSolver",
    "DirectOrthogonaliser",
    "Diverged",
    "InvalidResult",
    "IterationSolver",
    "IterativeOrthogonaliser",
    "MatrixDataset",
    "NewtonSchulz",
    "Objective",
    "Refuted",
    "RunOnceSolver",
    "Solver",
    "Unsaved",
    "check_tensors",
    "raise_failures",
    "resolve_device",
    "set_threads",
    "synchronize",
    "timing_metrics",
]
