"""Certifiably robust networks: a solver names a kind of layer; training, certificates and attacks are the harness's."""

from ..exports import export

__all__, __getattr__ = export(
    __name__,
    {
        "datasets": ["NETWORK", "RobustnessDataset"],
        "objective": ["HEADLINE", "RADII", "LipschitzObjective"],
        "solver": ["LOSS", "LipschitzSolver"],
        "task": ["RobustnessTask"],
    },
)
