"""Detection with guarantees: a solver brings a controller; detections, splits, losses and verdicts are ours."""

from ..exports import export

__all__, __getattr__ = export(
    __name__,
    {
        "datasets": ["SPLITS", "DetectionDataset", "SimulatedDataset", "StoredDataset"],
        "objective": ["DetectionObjective"],
        "solver": ["SETS", "DetectionSolver", "RiskProblem"],
        "task": ["DetectionTask"],
    },
)
