"""Private training: a solver brings a mechanism; data, batches, noise, accounting and tests are the harness's."""

from ..exports import export

__all__, __getattr__ = export(
    __name__,
    {
        "evaluation": ["RADII"],
        "..privacy.mechanisms": ["ClipFree", "Clipping", "Mechanism", "NonPrivate", "Plan"],
        "objective": ["PrivacyObjective"],
        "solver": ["PrivateSolver"],
        "task": ["NETWORK", "PrivacyDataset", "PrivateTask"],
    },
)
