"""Schedule-free AdamW, from pytorch-optimizer."""

from pytorch_optimizer import ScheduleFreeAdamW

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    """AdamW with averaged weights instead of a falling learning rate (Defazio et al., 2024), for all parameters."""

    name = "Schedule-Free AdamW"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"learning_rate": [0.03], "weight_decay": [0.01]}
    decays = False

    def optimizers(self, model):
        return [ScheduleFreeAdamW(model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)]
