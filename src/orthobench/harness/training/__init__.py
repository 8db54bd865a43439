"""The training loop: model, loss, batches, schedule and evaluation are the harness's; a solver brings optimizers."""

import sys

from torch.nn import functional

from .. import namespaces
from ..datasets import TaskDataset
from .evaluation import evaluate_model, rebuild
from .loop import Trainer
from .objective import TrainingObjective
from .schedule import warmup_stable_decay
from .solver import LONG_WARM_UP_STEPS, MatrixSolver, TrainingSolver
from .task import TrainingTask, classification_loss

__all__ = [
    "LONG_WARM_UP_STEPS",
    "MatrixSolver",
    "TaskDataset",
    "Trainer",
    "TrainingObjective",
    "TrainingSolver",
    "TrainingTask",
    "classification_loss",
    "evaluate_model",
    "rebuild",
    "warmup_stable_decay",
]

# At import, before the code of any solver.
namespaces.watch_networks()
namespaces.watch(
    module for name, module in list(sys.modules.items()) if name.startswith(("orthobench.models", __name__))
)
namespaces.watch([functional])
