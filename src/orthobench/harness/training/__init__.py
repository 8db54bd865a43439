"""The training loop: model, loss, batches, schedule and evaluation are the harness's; a solver brings optimizers."""

from ..exports import export

__all__, __getattr__ = export(
    __name__,
    {
        ".datasets": ["TaskDataset"],
        "..models.evaluation": ["evaluate_model", "rebuild"],
        "loop": ["Trainer"],
        "objective": ["TrainingObjective"],
        "..optim.learning_rate": ["warmup_stable_decay"],
        "solver": ["LONG_WARM_UP_STEPS", "MatrixSolver", "TrainingSolver"],
        "task": ["TrainingTask", "classification_loss"],
    },
)
