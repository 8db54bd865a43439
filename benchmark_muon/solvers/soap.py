"""SOAP, from pytorch-optimizer."""

from pytorch_optimizer import SOAP

from orthobench.harness.training import LONG_WARM_UP_STEPS, TrainingSolver


class Solver(TrainingSolver):
    """Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., 2024), for all parameters."""

    name = "SOAP"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"learning_rate": [0.01], "weight_decay": [0.01]}
    warm_up_steps = LONG_WARM_UP_STEPS  # the eigenbasis is renewed each 10 steps

    def optimizers(self, model):
        return [SOAP(model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)]
