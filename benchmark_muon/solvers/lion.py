"""Lion, from pytorch-optimizer."""

from pytorch_optimizer import Lion

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    """The sign of an interpolated momentum (Chen et al., 2023), for all parameters."""

    name = "Lion"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"learning_rate": [0.01], "weight_decay": [0.1]}

    def optimizers(self, model):
        return [Lion(model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)]
