"""Certified segmentation: a solver names a layer or a noise level; training, certificates and attacks are ours."""

from ..exports import export

__all__, __getattr__ = export(
    __name__,
    {
        "datasets": ["PROTOCOL", "SegmentationDataset"],
        "objective": ["SegmentationObjective"],
        "solver": ["LOSS", "SMOOTHING", "SegmentationSolver"],
        "task": ["CONSTANT", "SegmentationTask"],
    },
)
