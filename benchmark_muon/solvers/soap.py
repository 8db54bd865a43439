"""SOAP, from pytorch-optimizer."""

from pytorch_optimizer import SOAP

from orthobench.harness.training import TrainingSolver


class Solver(TrainingSolver):
    """Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., 2024), for all parameters."""

    name = "SOAP"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"learning_rate": [0.01], "weight_decay": [0.01]}

    def optimizers(self, model):
        return [SOAP(model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)]
