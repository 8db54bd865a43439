"""The training loop: model, loss, batches, schedule and evaluation are the harness's; a solver brings optimizers."""

from .evaluation import evaluate_model
from .loop import Trainer
from .objective import TrainingObjective
from .schedule import warmup_stable_decay
from .solver import MatrixSolver, TrainingSolver
from .task import TaskDataset, TrainingTask, classification_loss

__all__ = [
    "MatrixSolver",
    "TaskDataset",
    "Trainer",
    "TrainingObjective",
    "TrainingSolver",
    "TrainingTask",
    "classification_loss",
    "evaluate_model",
    "warmup_stable_decay",
]
