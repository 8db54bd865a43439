"""Robust conformal prediction: a solver makes a predictor; all else is the harness's."""

from ..exports import export

__all__, __getattr__ = export(
    __name__,
    {
        "objective": ["ConformalObjective"],
        "solver": ["ConformalSolver", "make_score"],
        "task": ["ATTACK", "NETWORK", "SPLITS", "ConformalDataset", "ConformalTask", "LogitsDataset", "Network"],
    },
)
