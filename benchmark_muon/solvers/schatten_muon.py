"""Schatten-p: steps along U S^e V^T, with an exponent between SGD's and Muon's."""

from orthobench.harness.training import LONG_WARM_UP_STEPS, MatrixSolver
from orthobench.optim import ActivationMoments, SchattenMuon, dynmuon_schedule


class Solver(MatrixSolver):
    """Schatten-p ("From SGD to Muon", 2026) for hidden matrices and convolution kernels, AdamW for the rest.

    `exponent` is a number, DynMuon's schedule ("dynmuon"), or a criterion by which each layer's is chosen, every
    `refresh_every` steps ("tightness", "momentum", "bound", or "two_directions": a mix of gradient and polar factor).
    """

    name = "Schatten-Muon"
    parameters = {
        "learning_rate": [0.05],
        "exponent": ["tightness", "two_directions", "dynmuon"],
        "refresh_every": [20],
        "method": ["eigh"],
        "adamw_learning_rate": [0.01],
        "weight_decay": [0.01],
    }
    warm_up_steps = LONG_WARM_UP_STEPS  # the first choice is in the tenth step

    def matrix_optimizer(self, parameters, model):
        own = {id(each) for each in parameters}
        named = [(name, each) for name, each in model.named_parameters() if id(each) in own]
        settings = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "exponent": self.exponent}
        settings |= {"method": self.method, "process_group": self.process_group, "refresh_every": self.refresh_every}
        if self.exponent == "dynmuon":
            settings["exponent"] = dynmuon_schedule(self.steps)
        elif isinstance(self.exponent, str):
            settings["activations"] = ActivationMoments(model, parameters)
        return SchattenMuon(named, **settings)
