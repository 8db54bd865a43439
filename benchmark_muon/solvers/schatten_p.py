"""Schatten-p as published: exponents by tightness, bias-corrected momentum, steps of one Frobenius norm."""

from orthobench.harness.training import LONG_WARM_UP_STEPS, MatrixSolver
from orthobench.optim import ActivationMoments, SchattenMuon


class Solver(MatrixSolver):
    """The algorithm of "From SGD to Muon" (Massena et al., 2026) for hidden matrices and kernels, AdamW for the rest.

    `SchattenMuon.PUBLISHED` says what differs from Schatten-Muon. `method` computes powers: "eigh" exactly, "products"
    for a few exponents, as fast as the authors' series.
    """

    name = "Schatten-p"
    parameters = {
        "learning_rate": [0.05],
        "refresh_every": [100],
        "method": ["eigh"],
        "adamw_learning_rate": [0.01],
        "weight_decay": [0.01],
    }
    warm_up_steps = LONG_WARM_UP_STEPS  # the first choice is in the tenth step

    def matrix_optimizer(self, parameters, model):
        names = {parameter: name for name, parameter in model.named_parameters()}
        settings = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "method": self.method}
        settings |= {"refresh_every": self.refresh_every, "process_group": self.process_group}
        settings["activations"] = ActivationMoments(model, parameters, smoothing=0)
        return SchattenMuon([(names[each], each) for each in parameters], **SchattenMuon.PUBLISHED | settings)
