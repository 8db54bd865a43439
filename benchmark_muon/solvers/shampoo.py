"""Shampoo, from pytorch-optimizer."""

from pytorch_optimizer import ScalableShampoo

from orthobench.harness.training import LONG_WARM_UP_STEPS, TrainingSolver


class Solver(TrainingSolver):
    """Shampoo with grafting (Gupta et al., 2018; Anil et al., 2020), for all parameters."""

    name = "Shampoo"
    requirements = ["pip::pytorch-optimizer"]
    parameters = {"learning_rate": [0.01], "weight_decay": [0.01]}
    warm_up_steps = LONG_WARM_UP_STEPS  # the first roots are taken in the tenth step

    def optimizers(self, model):
        settings = {"start_preconditioning_step": 10, "preconditioning_compute_steps": 10, "graft_type": 2}
        return [ScalableShampoo(model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, **settings)]
